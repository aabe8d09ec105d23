/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"
#include "pairs/query.h"
#include "pairs/render.h"
#include "sys/terminal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define EXIT_NO_MATCH 1

struct arguments {
    struct query query;
    enum render_form form;
    bool help;
};

/* A line of any length: it grows to the longest. */
struct line {
    char *start;
    size_t size;
    unsigned columns; /* of the terminal; 0: nothing is cut */
};

static const char help_text[] =
    "usage: forkport pairs [FILTER...] [OPTION...]\n"
    "\n"
    "Shows every TCP socket of the network namespace, as its socket pair, and the processes that hold it.\n"
    "Several filters are combined by and:\n"
    "\n"
    "  :21, ftp, :2000-2999, 192.0.2.1, 192.0.2.0/24, [2001:db8::1]:21\n"
    "      a port or an address of either end; of one end with local: or foreign: before it\n"
    "  listening, connected, established, time-wait, syn-received, bound, ...\n"
    "      the state\n"
    "  waiting, orphan\n"
    "      not accepted yet; held by no process any more\n"
    "  pid:812, name:sshd, service:ftp, connection:17\n"
    "      the process that holds it, and what it does for forkport serve\n"
    "  uid:33, device:eth0, cookie:1f, inode:4711, tcp4, tcp6, tcp46\n"
    "      the socket itself\n"
    "\n"
    "  --stats\n"
    "      round-trip time, bytes in and out, bytes sent again\n"
    "  --json\n"
    "      a JSON object for each socket, a line each\n"
    "  --netstat\n"
    "      addresses as netstat prints them\n"
    "  --namespace NAME|PID\n"
    "      another network namespace, of ip-netns(8) or of a process\n"
    "  --help\n"
    "      print this\n";

static enum fp_status usage(struct fp_error *err, const char *what, const char *reason)
{
    return error_reason(err, error_set(err, FP_USAGE, 0, "show pairs with", "%s", what), "%s", reason);
}

static enum fp_status parse_option(struct arguments *arguments, int argc, char **argv, int *at,
                                   struct fp_error *err)
{
    static const char namespace[] = "--namespace";
    const char *option = argv[*at];

    if (strcmp(option, "--help") == 0 || strcmp(option, "-h") == 0) {
        arguments->help = true;
    } else if (strcmp(option, "--json") == 0) {
        arguments->form = RENDER_JSON;
        arguments->query.with_counts = true;
    } else if (strcmp(option, "--netstat") == 0) {
        arguments->form = RENDER_NETSTAT;
    } else if (strcmp(option, "--stats") == 0) {
        arguments->query.with_counts = true;
    } else if (strncmp(option, namespace, strlen(namespace)) == 0 && option[strlen(namespace)] == '=') {
        arguments->query.namespace = option + strlen(namespace) + 1;
    } else if (strcmp(option, namespace) == 0) {
        if (*at + 1 >= argc)
            return usage(err, option, "a name or a process is expected behind it");
        arguments->query.namespace = argv[++*at];
    } else {
        return usage(err, option, "there is no such option (see forkport pairs --help)");
    }
    return FP_OK;
}

static enum fp_status parse_arguments(struct arguments *arguments, int argc, char **argv,
                                      struct fp_error *err)
{
    enum fp_status status = FP_OK;

    for (int at = 1; at < argc && status == FP_OK; at++) {
        if (argv[at][0] == '-')
            status = parse_option(arguments, argc, argv, &at, err);
        else
            status = filter_add(&arguments->query.filter, argv[at], err);
    }
    return status;
}

/* How many bytes of the line stand in so many columns. */
static size_t cut(const char *string, size_t length, unsigned columns)
{
    size_t at = 0;

    if (columns == 0)
        return length;
    for (; at < length && columns > 0; columns--) {
        size_t step = text_utf8_length((const unsigned char *)string + at, length - at);
        at += step != 0 ? step : 1;
    }
    return at;
}

/* False: there is no memory for a line as long as this one. */
static bool print_row(const struct render *render, const struct pairs_table *table,
                      const struct pairs_row *row, struct line *line)
{
    struct text text;

    for (;;) {
        text_init(&text, line->start, line->size);
        if (row != NULL)
            render_row(render, table, row, &text);
        else
            render_heading(render, &text);
        if (text_end(&text) < line->size)
            break;
        char *start = realloc(line->start, text.length + 1);
        if (start == NULL)
            return false;
        line->start = start;
        line->size = text.length + 1;
    }
    printf("%.*s\n", (int)cut(line->start, text.length, line->columns), line->start);
    return true;
}

static enum fp_status print_table(const struct arguments *arguments, const struct pairs_table *table,
                                  struct fp_error *err)
{
    struct render render = {.form = arguments->form, .with_counts = arguments->query.with_counts};
    struct line line = {.columns = terminal_size(STDOUT_FILENO).columns};
    bool done = true;

    render_measure(&render, table);
    if (render.form == RENDER_JSON)
        line.columns = 0;
    else if (pairs_shown(table) != 0)
        done = print_row(&render, table, NULL, &line);
    for (size_t i = 0; i < table->count && done; i++) {
        if (table->rows[i].shown)
            done = print_row(&render, table, &table->rows[i], &line);
    }
    free(line.start);
    if (done && fflush(stdout) == 0 && !ferror(stdout))
        return FP_OK;
    return error_set(err, FP_SYSTEM, done ? errno : ENOMEM, "print", "the table");
}

static enum fp_status run(const struct arguments *arguments, int *ret_code, struct fp_error *err)
{
    struct pairs_table table = {.count = 0};

    enum fp_status status = query_run(&arguments->query, &table, err);
    if (status == FP_OK)
        status = print_table(arguments, &table, err);
    *ret_code = pairs_shown(&table) != 0 ? EX_OK : EXIT_NO_MATCH;
    pairs_done(&table);
    return status;
}

int cmd_pairs(int argc, char **argv)
{
    struct arguments arguments = {.form = RENDER_COLUMNS};
    struct fp_error err;
    int home = -1;
    int code = EX_OK;

    enum fp_status status = parse_arguments(&arguments, argc, argv, &err);
    if (status == FP_OK && arguments.help) {
        fputs(help_text, stdout);
        return EX_OK;
    }
    if (status == FP_OK)
        status = query_enter(&arguments.query, &home, &err);
    if (status == FP_OK)
        status = run(&arguments, &code, &err);
    return status == FP_OK ? code : cmd_fail(&err);
}
