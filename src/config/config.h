/* SPDX-License-Identifier: MIT
 *
 * config/config.h - what to serve, and how.
 *
 * A `struct config` is made once, by config/options.h, from a command line or by the library's calls, and is not
 * changed any more once the server runs. It owns its strings and lists, which config_done() releases. It holds values only: no socket
 * is open, no file created; that a user exists has been looked up, whether an address can be had has not.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "addr/resolve.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum config_engine { ENGINE_EXEC, ENGINE_FORK, ENGINE_POOL };
/* In the order of enum template_gate. */
enum config_gate { GATE_MAIN, GATE_READ };
/* How a worker that waits is started. */
enum config_pool_start { POOL_START_FORK, POOL_START_EXEC };
enum config_stderr { STDERR_LOG, STDERR_SOCKET, STDERR_INHERIT };
enum config_log { LOG_TEXT, LOG_JSON, LOG_NONE };
enum config_at_max { AT_MAX_QUEUE, AT_MAX_REFUSE, AT_MAX_MESSAGE };

struct config_limits {
    uint32_t max;
    uint32_t max_per_source;
    uint8_t source_prefix4;
    uint8_t source_prefix6;
};

/* Who a worker is. What is not set stays as the server has it. */
struct config_identity {
    bool user_set;
    bool group_set; /* by --group: the user's own groups do not count */
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* supplementary, owned */
    uint32_t group_count;
};

struct config {
    uint64_t given; /* a bit for each option that was set, for option_is_given() */
    struct address_list addresses;
    char *name;
    char **program; /* argv, owned, NULL-terminated; NULL: none */
    char *builtin;  /* NULL: none */
    int engine;     /* enum config_engine */
    int gate;       /* enum config_gate */
    uint32_t templates;
    uint32_t template_connections;
    uint32_t template_age_s;
    uint32_t template_start_s;
    int pool_start; /* enum config_pool_start */
    uint32_t pool_min;
    uint32_t pool_max;
    uint32_t backlog;
    int ready_fd; /* -1: none */
    struct config_limits limits;
    int at_max; /* enum config_at_max */
    char *at_max_text;
    uint32_t drain_s;
    struct config_identity identity;
    int worker_stderr; /* enum config_stderr */
    bool resolve;
    int log_format; /* enum config_log */
    char *log_file; /* NULL: standard error */
};

/* Every option at its default; cannot fail but for memory (FP_SYSTEM). */
enum fp_status config_init(struct config *config, struct fp_error *err);
void config_done(struct config *config);
/* Copies the program and its arguments, at least one word. FP_SYSTEM. */
enum fp_status config_set_program(struct config *config, int count, char *const words[],
                                  struct fp_error *err);

#endif
