/* SPDX-License-Identifier: MIT */
#include "base/line.h"
#include "cmd/cmd.h"
#include "cmd/command_line.h"
#include "pairs/change.h"
#include "pairs/query.h"
#include "pairs/render.h"
#include "pairs/save.h"
#include "sys/fd.h"
#include "sys/loop.h"
#include "sys/terminal.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#define EXIT_NO_MATCH 1
#define OUTPUT_SIZE   (64 << 10)
#define INTERVAL_S    1

struct arguments {
    struct query query;
    bool stats;
    bool json;
    bool netstat;
    bool watch;
    uint64_t interval_s; /* 0: as usual */
    const char *save;
};

/* The lines, one after another. */
struct output {
    struct line line;
    size_t shown;     /* bytes of it */
    unsigned columns; /* of the terminal; 0: nothing is cut */
};

#define OPTION(name, kind, member, least, most, placeholder, help) \
    {#name, COMMAND_##kind, offsetof(struct arguments, member), least, most, placeholder, help},
static const struct command_option options[] = {
#include "cmd/pairs.def"
};
#undef OPTION

static enum fp_status add_filter(void *data, const char *operand, struct fp_error *err)
{
    struct arguments *arguments = data;

    return filter_add(&arguments->query.filter, operand, err);
}

static const struct command_line command = {
    .name = "pairs",
    .doing = "show pairs with",
    .usage = "usage: forkport pairs [FILTER...] [OPTION...]\n"
             "\n"
             "Shows every TCP socket of the network namespace, as its socket pair, and the processes that "
             "hold it.\n"
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
             "      the socket itself\n",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .program_offset = SIZE_MAX,
    .operand = add_filter,
};

static enum render_form form_of(const struct arguments *arguments)
{
    if (arguments->json)
        return RENDER_JSON;
    return arguments->netstat ? RENDER_NETSTAT : RENDER_COLUMNS;
}

/*
 * How many bytes of the line stand in so many columns. Which characters take two no table is kept of: one of three bytes, as those
 * of Chinese, Japanese and Korean are, may.
 */
static size_t cut(const char *string, size_t length, unsigned columns)
{
    size_t at = 0;

    if (columns == 0)
        return length;
    while (at < length) {
        size_t step = text_utf8_length((const unsigned char *)string + at, length - at);
        unsigned width = step > 2 ? 2 : 1;
        if (width > columns)
            break;
        columns -= width;
        at += step != 0 ? step : 1;
    }
    return at;
}

/* What stands before a row, there and on a terminal, and what JSON says. */
static const struct mark {
    const char *text;
    const char *terminal;
    const char *json;
} marks[] = {
    [CHANGE_NONE] = {"  ", "  ", "none"},
    [CHANGE_ADDED] = {"+ ", "\033[32m+ ", "added"},
    [CHANGE_REMOVED] = {"- ", "\033[31m- ", "removed"},
    [CHANGE_CHANGED] = {"* ", "\033[33m* ", "changed"},
};

/* Leaves the row, or (NULL) the heading, in the line. False: there is no memory for one as long as this. */
static bool make_line(const struct render *render, const struct pairs_table *table,
                      const struct pairs_row *row, struct output *output)
{
    struct line *line = &output->line;

    do {
        struct text *text = line_begin(line);
        if (row != NULL)
            render_row(render, table, row, text);
        else
            render_heading(render, text);
    } while (line_again(line));
    if (line_text(line) == NULL)
        return false;
    output->shown = cut(line_text(line), line->text.length, output->columns);
    return true;
}

static bool print_row(const struct render *render, const struct pairs_table *table,
                      const struct pairs_row *row, struct output *output)
{
    if (!make_line(render, table, row, output))
        return false;
    fwrite(line_text(&output->line), 1, output->shown, stdout);
    putchar('\n');
    return true;
}

static enum fp_status end_printing(bool done, struct output *output, struct fp_error *err)
{
    line_done(&output->line);
    if (done && fflush(stdout) == 0 && !ferror(stdout))
        return FP_OK;
    return error_set(err, FP_SYSTEM, done ? errno : ENOMEM, "print", "the table");
}

static enum fp_status print_table(const struct arguments *arguments, const struct pairs_table *table,
                                  struct fp_error *err)
{
    struct render render = {.form = form_of(arguments), .with_counts = arguments->query.with_counts};
    struct output output = {.columns = terminal_size(STDOUT_FILENO).columns};
    bool done = true;

    render_measure(&render, table);
    if (render.form == RENDER_JSON)
        output.columns = 0;
    else if (pairs_shown(table) != 0)
        done = print_row(&render, table, NULL, &output);
    for (size_t i = 0; i < table->count && done; i++) {
        if (table->rows[i].shown)
            done = print_row(&render, table, &table->rows[i], &output);
    }
    return end_printing(done, &output, err);
}

/* Draws over what stood there before; the cursor is left below, so an interruption leaves a whole table. */
static bool draw_changes(struct render *render, struct change_walk *walk, struct terminal_size size,
                         struct output *output)
{
    struct change_row change;
    unsigned left = size.rows > 3 ? size.rows - 3 : 1;
    unsigned more = 0;

    output->columns = size.columns > 2 ? size.columns - 2 : 1;
    if (!make_line(render, walk->now, NULL, output))
        return false;
    printf("\033[H  %.*s\033[K\n", (int)output->shown, line_text(&output->line));
    while (change_next(walk, &change)) {
        if (left == 0) {
            more++;
            continue;
        }
        if (!make_line(render, change.table, change.row, output))
            return false;
        printf("%s%.*s\033[m\033[K\n", marks[change.change].terminal, (int)output->shown,
               line_text(&output->line));
        left--;
    }
    fputs("\033[J", stdout);
    if (more != 0)
        printf("  and %u more\n", more);
    return true;
}

static bool print_changes(struct render *render, struct change_walk *walk, struct output *output)
{
    struct change_row change;

    while (change_next(walk, &change)) {
        const struct mark *mark = &marks[change.change];
        if (change.change == CHANGE_NONE)
            continue;
        render->change = mark->json;
        if (render->form != RENDER_JSON)
            fputs(mark->text, stdout);
        if (!print_row(render, change.table, change.row, output))
            return false;
    }
    return true;
}

static enum fp_status show_changes(const struct arguments *arguments, const struct pairs_table *before,
                                   const struct pairs_table *now, struct fp_error *err)
{
    struct render render = {.form = form_of(arguments), .with_counts = arguments->query.with_counts};
    struct terminal_size size = terminal_size(STDOUT_FILENO);
    struct change_walk walk = {.before = before, .now = now};
    struct output output = {.columns = 0};
    bool done;

    render_measure(&render, before);
    render_measure(&render, now);
    if (size.columns != 0 && render.form != RENDER_JSON)
        done = draw_changes(&render, &walk, size, &output);
    else
        done = print_changes(&render, &walk, &output);
    return end_printing(done, &output, err);
}

/* Until it is interrupted, or nobody reads it any more. On a terminal the first table has no marks; elsewhere all that it has is new. */
static enum fp_status watch(const struct arguments *arguments, struct fp_error *err)
{
    struct pairs_table before = {.count = 0};
    struct pairs_table now = {.count = 0};
    bool drawn = terminal_size(STDOUT_FILENO).columns != 0 && !arguments->json;
    int interval_ms = (int)(arguments->interval_s != 0 ? arguments->interval_s : INTERVAL_S) * 1000;

    if (drawn)
        fputs("\033[2J", stdout);
    enum fp_status status = query_run(&arguments->query, &now, err);
    if (status == FP_OK)
        status = show_changes(arguments, drawn ? &now : &before, &now, err);
    while (status == FP_OK && !fd_is_left(STDOUT_FILENO, interval_ms)) {
        before = now;
        now = (struct pairs_table){.count = 0};
        status = query_run(&arguments->query, &now, err);
        if (status == FP_OK)
            status = show_changes(arguments, &before, &now, err);
        pairs_done(&before);
    }
    pairs_done(&now);
    return status;
}

static enum fp_status save_failed(const struct arguments *arguments, struct fp_error *err)
{
    return error_set(err, error_class(errno), errno, "save the table in", "%s", arguments->save);
}

static bool save_rows(const struct pairs_table *table, FILE *file)
{
    struct render render = {.form = RENDER_JSON};
    struct output output = {.columns = 0};
    struct text text;
    char head[256];
    bool done = true;

    text_init(&text, head, sizeof(head));
    save_head(clock_realtime_ns(), &text);
    text_end(&text);
    fprintf(file, "%s\n", head);
    for (size_t i = 0; i < table->count && done; i++) {
        if (!table->rows[i].shown)
            continue;
        done = make_line(&render, table, &table->rows[i], &output);
        if (done)
            fprintf(file, "%.*s\n", (int)output.shown, line_text(&output.line));
    }
    line_done(&output.line);
    return done && fflush(file) == 0 && !ferror(file);
}

static enum fp_status save_table(const struct arguments *arguments, const struct pairs_table *table,
                                 struct fp_error *err)
{
    FILE *file = fopen(arguments->save, "we");

    if (file == NULL)
        return save_failed(arguments, err);
    enum fp_status status = save_rows(table, file) ? FP_OK : save_failed(arguments, err);
    if (fclose(file) != 0 && status == FP_OK)
        status = save_failed(arguments, err);
    return status;
}

static enum fp_status run(const struct arguments *arguments, int *ret_code, struct fp_error *err)
{
    struct pairs_table table = {.count = 0};

    if (arguments->watch)
        return watch(arguments, err);
    enum fp_status status = query_run(&arguments->query, &table, err);
    if (status == FP_OK && arguments->save != NULL)
        status = save_table(arguments, &table, err);
    else if (status == FP_OK)
        status = print_table(arguments, &table, err);
    *ret_code = pairs_shown(&table) != 0 ? EX_OK : EXIT_NO_MATCH;
    pairs_done(&table);
    return status;
}

static enum fp_status check(const struct arguments *arguments, struct fp_error *err)
{
    if (arguments->watch && arguments->save != NULL)
        return command_line_usage(&command, "--save", "--watch and --save do not go together", err);
    if (arguments->json && arguments->netstat)
        return command_line_usage(&command, "--netstat", "--json and --netstat do not go together", err);
    if (!arguments->watch && arguments->interval_s != 0)
        return command_line_usage(&command, "--interval", "it goes with --watch", err);
    return FP_OK;
}

int cmd_pairs(int argc, char **argv)
{
    struct arguments arguments = {.interval_s = 0};
    struct fp_error err;
    int home = -1;
    int code = EX_OK;
    bool help;

    enum fp_status status = command_line_parse(&command, argc, argv, &arguments, &help, &err);
    if (status == FP_OK && help)
        return EX_OK;
    if (status == FP_OK)
        status = check(&arguments, &err);
    arguments.query.with_counts = arguments.stats || arguments.json;
    /* A table is long, and each write(2) takes as much as some dozen of its lines. It is stdout's until the end. */
    setvbuf(stdout, malloc(OUTPUT_SIZE), _IOFBF, OUTPUT_SIZE);
    if (status == FP_OK)
        status = query_enter(&arguments.query, &home, &err);
    if (status == FP_OK)
        status = run(&arguments, &code, &err);
    return status == FP_OK ? code : cmd_fail(&err);
}
