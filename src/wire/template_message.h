/* SPDX-License-Identifier: MIT
 *
 * wire/template_message.h - what the supervisor and a template say to each other.
 *
 * The supervisor sends an order for each connection, as one message of a SOCK_SEQPACKET socket, with the descriptors that
 * become 0, 1 and 2 of the worker. A template looks at the oldest order, forks, and takes it from the queue only then: so an
 * order that is still in the queue of a template that died has no worker, unless its answer says so. Answers are words in
 * memory that both have mapped (the board), written by the kernel before the worker runs. The template is a program we
 * do not trust: of the board the supervisor believes no more than it can check, and a word that it looks at twice may be
 * another one by then.
 *
 * Both ends are of one build. Nothing here calls the kernel; the preload library compiles it in as well.
 */
#ifndef WIRE_TEMPLATE_MESSAGE_H
#define WIRE_TEMPLATE_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The variable that tells a template what it is, the last but one of its environment: numbers, as below. */
#define TEMPLATE_MARKER "FORKPORT_TEMPLATE="
/* What keeps room for the texts of connections in the environment. */
#define TEMPLATE_ROOM "FORKPORT_ROOM="
/* The name that the server's own LD_PRELOAD has in its place until the program starts, and as long: the first or the last one holds. */
#define TEMPLATE_OWN_PRELOAD "FORKPORT_P="
/*
 * What stands before that room where the marker says so: glibc from 2.35 to 2.40 sets so much memory aside for threads that what the
 * kernel notes in it (rseq(2)) comes into a page of its own, which is copied for each worker. With room for three namespaces of
 * dlmopen(3), which is 336 bytes fewer than for its four, it comes to lie with the rest.
 */
#define TEMPLATE_TUNABLES "GLIBC_TUNABLES=glibc.rtld.nns=3"

#define TEMPLATE_TEXT_BYTES 1024
/* Orders of one template that have no answer yet, at most. */
#define TEMPLATE_ORDERS 64
/* Descriptors that a server can keep open for its workers, at most, where there are templates. */
#define TEMPLATE_KEPT_MAX 32
/* Descriptors that come with an order. */
#define TEMPLATE_ORDER_FDS 3

struct template_order_head {
    uint32_t sequence;
    uint32_t
        variables; /* how many, each terminated, in the text; 0: the descriptors are not a connection's, but what the
                             worker waits at for the order that brings it */
    uint32_t text_length; /* the last byte is a zero */
};

struct template_order {
    struct template_order_head head;
    char text[TEMPLATE_TEXT_BYTES];
};

enum template_gate { TEMPLATE_GATE_MAIN, TEMPLATE_GATE_READ };

/* Why a program does not wait at its gate. */
#define TEMPLATE_REFUSALS(REFUSAL)                                                                          \
    REFUSAL(NONE, "")                                                                                       \
    REFUSAL(LAYOUT, "its environment does not lie in memory as it was given")                               \
    REFUSAL(LIBRARY, "its C library keeps its thread in an unknown way")                                    \
    REFUSAL(PROC, "it cannot look at its descriptors in /proc")                                             \
    REFUSAL(THREADS, "it has several threads at its gate")                                                  \
    REFUSAL(MEMORY, "its memory could not be moved into a file")                                            \
    REFUSAL(CHILDREN, "it has a child process, which would be none of its copies'")                         \
    REFUSAL(TIMERS, "it has a timer, which would not be its connection's")                                  \
    REFUSAL(URING, "it has an io_uring, which a fork would share")                                          \
    REFUSAL(CONTEXT, "it has a context of asynchronous I/O, which its copies would not have")               \
    REFUSAL(COPIES, "it has its connection or its standard error under another number as well")             \
    REFUSAL(WROTE, "it writes to its connection before it reads")                                           \
    REFUSAL(TALKS, "it has a connected socket, which its copies would share")                               \
    REFUSAL(LOCKS, "it holds a lock on a file")                                                             \
    REFUSAL(UNDO, "it takes a semaphore until it ends, before it reads (semop(2), SEM_UNDO)")               \
    REFUSAL(REOPEN, "it has a file or timer open that it may not open again")                               \
    REFUSAL(FORK, "it cannot fork")                                                                         \
    REFUSAL(SHORT, "it cannot fork for want of a process or memory")                                        \
    REFUSAL(CALLS, "its copies may not make the system calls that begin them")                              \
    REFUSAL(CLOSED, "it has closed descriptors that are not its own")                                       \
    REFUSAL(EXECUTES, "it executes another program before it reads")                                        \
    REFUSAL(FILES, "it has more files, sockets, timers and such open than can be kept apart")               \
    REFUSAL(HANDLERS, "it has more functions for its forks than can be kept (pthread_atfork(3))")           \
    REFUSAL(ENDS, "its copies end before they begin, by a function for its forks (pthread_atfork(3)), say") \
    REFUSAL(HANGS, "its copies would wait 3 s or more, for a function for its forks or the loader's lock")

#define REFUSAL(id, text) TEMPLATE_REFUSAL_##id,
enum template_refusal { TEMPLATE_REFUSALS(REFUSAL) TEMPLATE_REFUSAL_COUNT };
#undef REFUSAL

/* By this the supervisor asks a template whether it waits where it cannot see it: the last of the kernel's signals. */
#define TEMPLATE_PROBE_SIGNAL 64

enum template_stand {
    TEMPLATE_STARTS, /* or has come to its gate and makes itself ready: it is not asked */
    TEMPLATE_PROBED, /* starts, and may be asked by the signal */
    TEMPLATE_AT_GATE,
    TEMPLATE_REFUSES
};

struct template_board {
    uint32_t stand;   /* enum template_stand */
    uint32_t refusal; /* enum template_refusal */
    uint32_t mappings;
    uint32_t joined;     /* so many there would be more (preload/join.h) */
    uint32_t file_kib;   /* of its memory, now in files that forks do not copy */
    uint32_t huge_kib;   /* of its memory, now in huge pages, of files or not */
    uint32_t moved_us;   /* what that took */
    uint32_t is_pinned;  /* what is written to for each worker is copied by the fork (sys/pinned.h) */
    uint32_t code_pages; /* of the C library's code, in the page table that each fork has */
    uint32_t
        learnt_pages; /* so many of all files' since some workers came to them (preload/learn.h); 0: not yet */
    uint32_t failed_forks; /* counted: each is tried again */
    int32_t fork_errnum;   /* of the last one */
    uint32_t kept_count;   /* of what the server leaves open for all workers */
    int32_t kept[TEMPLATE_KEPT_MAX];
    int32_t answers[TEMPLATE_ORDERS]; /* of order N at N modulo: the pid of its worker, or 0 */
};

/* What the marker says; descriptors in the template. */
struct template_marker {
    uint32_t control;
    uint32_t board;
    uint32_t library;   /* open to be loaded, no further use */
    uint32_t peer;      /* of the socket that stands for the connection until there is one */
    uint32_t gate;      /* enum template_gate */
    uint32_t is_worker; /* 1: it takes one order, and goes on as its worker instead of forking one */
    uint32_t is_tuned;  /* 1: TEMPLATE_TUNABLES is in its environment */
};

/* The marker's text, without the variable's name, in at most so many bytes. */
#define TEMPLATE_MARKER_BYTES 80
void template_marker_format(const struct template_marker *marker, char *text, size_t size);
bool template_marker_parse(const char *text, struct template_marker *ret_marker);
/* Is what came, so many bytes, an order and whole? Its text may lie elsewhere than in it. */
bool template_order_check(const struct template_order_head *head, const char *text, size_t bytes);
/* How many bytes of an order are sent. */
size_t template_order_bytes(const struct template_order_head *head);
/* The text of a refusal; also of one that is none. */
const char *template_refusal_text(uint32_t refusal);

#endif
