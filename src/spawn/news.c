/* SPDX-License-Identifier: MIT */
#include "spawn/news.h"

#include "base/time.h"

#include <stdarg.h>
#include <stdio.h>

#define QUIET_NS (120 * SECOND_NS)

struct spawn_news *news_add(struct news *news, int kind, const char *format, ...)
{
    va_list ap;

    if (news->count < NEWS_MAX)
        news->count++;
    struct spawn_news *item = &news->items[(news->first + news->count - 1) % NEWS_MAX];
    *item = (struct spawn_news){.kind = kind, .pid = -1, .duration_ns = -1, .count = -1};
    va_start(ap, format);
    vsnprintf(item->text, sizeof(item->text), format, ap);
    va_end(ap);
    return item;
}

bool news_begins(int64_t *last_ns, int64_t now_ns)
{
    bool begins = *last_ns == 0 || now_ns - *last_ns >= QUIET_NS;

    *last_ns = now_ns;
    return begins;
}

bool news_take(struct news *news, struct spawn_news *ret_news)
{
    if (news->count == 0)
        return false;
    *ret_news = news->items[news->first];
    news->first = (news->first + 1) % NEWS_MAX;
    news->count--;
    return true;
}
