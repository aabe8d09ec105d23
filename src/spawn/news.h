/* SPDX-License-Identifier: MIT
 *
 * spawn/news.h - what happened in an engine that is worth an event, kept until the server asks.
 *
 * Rooms below serve do not log; so an engine that keeps processes of its own writes what befalls them here, and
 * engine_news() hands it on, oldest first. Room is bounded: where nobody asks, the latest takes the place of the one before it.
 * The text is ours but for a program's path; the log escapes it. Nothing here fails.
 */
#ifndef SPAWN_NEWS_H
#define SPAWN_NEWS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define NEWS_MAX 16

struct spawn_news {
    enum { SPAWN_NEWS_TEMPLATE, SPAWN_NEWS_POOL, SPAWN_NEWS_NOTICE } kind;
    pid_t pid;           /* -1: of no one process */
    int64_t duration_ns; /* from its start to its gate; -1: not at it */
    int64_t count;       /* workers that wait; -1: not of them */
    char text[200];
};

struct news {
    struct spawn_news items[NEWS_MAX];
    unsigned first;
    unsigned count;
};

/* A new one of this kind, the rest as above to be filled in. */
__attribute__((format(printf, 3, 4))) struct spawn_news *news_add(struct news *news, int kind,
                                                                  const char *format, ...);
/*
 * Whether a shortage that was met is a new one, to be told: not where one was within two minutes, as each is met again and again.
 * `last_ns` is when one last was, 0 for never.
 */
bool news_begins(int64_t *last_ns, int64_t now_ns);
bool news_take(struct news *news, struct spawn_news *ret_news);

#endif
