/* SPDX-License-Identifier: MIT
 *
 * tools/options.c - what is made from the tables of options and events when forkport is built.
 *
 *     options manual <TEMPLATE   a manual page: the template with @OPTIONS@, @EVENTS@ and @CHECKS@ filled in
 *     options bash|zsh|fish      completions of that shell
 *     options list               the tables as lines, with tabs between their columns, for the tests
 *
 * Runs on the machine that builds, and needs nothing of the program but its tables, config/options.def, those of cmd,
 * doctor/checks.def and observe/events.def. So the manual and the completions cannot say anything else than the
 * program does. It reads standard input and writes standard output; it fails (1) where one of them does, or (2) for
 * other arguments.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct option {
    const char *name;
    const char *kind;
    const char *least;
    const char *most;
    const char *placeholder;
    const char *default_text;
    const char *section;
    const char *help;
};

struct line {
    const char *name;
    const char *help;
};

#define OPTION(name, kind, member, least, most, placeholder, default_text, section, help) \
    {#name, #kind, #least, #most, placeholder, default_text, section, help},
static const struct option serve_options[] = {
#include "config/options.def"
};

#undef OPTION
#define OPTION(name, kind, member, least, most, placeholder, help) \
    {#name, #kind, #least, #most, placeholder, "", "", help},
static const struct option connect_options[] = {
#include "cmd/connect.def"
};
static const struct option pairs_options[] = {
#include "cmd/pairs.def"
};
static const struct option demux_options[] = {
#include "cmd/demux.def"
};
static const struct option figures_options[] = {
#include "cmd/figures.def"
};
static const struct option doctor_options[] = {
#include "cmd/doctor.def"
};
#undef OPTION

#define EVENT(id, name, level, help) {name, help},
static const struct line events[] = {
#include "observe/events.def"
};
#undef EVENT

#define FIELD(id, name, type, member, text) {name, #type},
static const struct line fields[] = {
#include "observe/events.def"
};

/* Of `forkport doctor`. */
static const struct check {
    const char *id;
    const char *group;
    const char *name;
    const char *use;
    const char *without;
    const char *remedy;
} checks[] = {
#define CHECK(id, group, rank, name, use, without, remedy) {#id, group, name, use, without, remedy},
#include "doctor/checks.def"
#undef CHECK
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct command {
    const char *name;
    const char *help;
    const struct option *options;
    size_t count;
    const char *zsh_operands;
} commands[] = {
    {"serve", "serve a program on TCP ports, a process for each connection", serve_options,
     COUNT(serve_options), " '1:address:_hosts'"},
    {"connect", "connect to a TCP port", connect_options, COUNT(connect_options), " '1:address:_hosts'"},
    {"pairs", "show every TCP socket pair, and the processes that hold it", pairs_options,
     COUNT(pairs_options), " '*:filter:'"},
    {"demux", "say which endpoint receives a segment, and why", demux_options, COUNT(demux_options),
     " '1:foreign address:_hosts' '2:local address:_hosts'"},
    {"figures", "play section 2.10 on real sockets, and check what it says", figures_options,
     COUNT(figures_options), ""},
    {"doctor", "say what this build and this host lack", doctor_options, COUNT(doctor_options), ""},
};

/* Text for scdoc(5). In a help, *WORD* is bold already. */
static void put_scdoc(const char *text, bool has_markup)
{
    for (; *text != '\0'; text++) {
        if (strchr("_\\#<", *text) != NULL || (*text == '*' && !has_markup))
            putchar('\\');
        putchar(*text);
    }
}

/* "queue|refuse|message:TEXT": what is typed as it stands is bold, what stands for something is underlined. */
static void put_placeholder(const char *text)
{
    while (*text != '\0') {
        size_t capitals = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
        size_t small = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789:");
        size_t length = capitals > 0 ? capitals : small;
        if (length == 0)
            putchar(*text++);
        else
            printf(capitals > 0 ? "_%.*s_" : "*%.*s*", (int)length, text);
        text += length;
    }
}

static bool is_number(const struct option *option)
{
    return strcmp(option->kind, "NUMBER") == 0 || strcmp(option->kind, "PREFIX") == 0;
}

static void put_default(const struct option *option)
{
    printf(" Default: *%s*", option->default_text);
    if (is_number(option))
        printf(", from %s to %s", option->least, option->most);
    fputs(".", stdout);
}

static void put_manual_options(void)
{
    const char *section = "";

    for (size_t i = 0; i < COUNT(serve_options); i++) {
        const struct option *option = &serve_options[i];
        if (strcmp(option->section, section) != 0)
            printf("## %s\n\n", section = option->section);
        printf("*--%s*%s", option->name, option->placeholder[0] != '\0' ? " " : "");
        put_placeholder(option->placeholder);
        fputs("\n\t", stdout);
        put_scdoc(option->help, true);
        if (option->default_text[0] != '\0')
            put_default(option);
        fputs("\n\n", stdout);
    }
}

static void put_manual_events(void)
{
    for (size_t i = 0; i < COUNT(events); i++) {
        printf("*%s*\n\t", events[i].name);
        put_scdoc(events[i].help, false);
        fputs("\n\n", stdout);
    }
}

static void put_manual_checks(void)
{
    const char *group = "";

    for (size_t i = 0; i < COUNT(checks); i++) {
        const struct check *check = &checks[i];
        if (strcmp(check->group, group) != 0)
            printf("## %s\n\n", group = check->group);
        printf("*%s* (_", check->name);
        put_scdoc(check->id, false);
        fputs("_)\n\tFor ", stdout);
        put_scdoc(check->use, false);
        fputs(". Without: ", stdout);
        put_scdoc(check->without, false);
        fputs(". Remedy: ", stdout);
        put_scdoc(check->remedy, false);
        fputs(".\n\n", stdout);
    }
}

static void put_manual(void)
{
    char line[1024];

    while (fgets(line, sizeof(line), stdin) != NULL) {
        if (strcmp(line, "@OPTIONS@\n") == 0)
            put_manual_options();
        else if (strcmp(line, "@EVENTS@\n") == 0)
            put_manual_events();
        else if (strcmp(line, "@CHECKS@\n") == 0)
            put_manual_checks();
        else
            fputs(line, stdout);
    }
}

/* The choices of a placeholder, between spaces; what stands for something is left out of them ("message:"). */
static void put_choices(const char *text, const char *colon)
{
    if (!islower((unsigned char)*text))
        return;
    for (; *text != '\0'; text++) {
        if (*text == ':')
            fputs(colon, stdout);
        else if (!isupper((unsigned char)*text))
            putchar(*text == '|' ? ' ' : *text);
    }
}

/* A help as far as a list of completions has room for: up to the first stop of any kind. */
static bool is_stop(const char *text)
{
    return strchr(".:;", *text) != NULL && (text[1] == ' ' || text[1] == '\0');
}

/* With the `escaped` characters behind a backslash, in a string where `quote` stands for a quotation mark. */
static void put_summary(const char *text, const char *escaped, const char *quote)
{
    for (; *text != '\0' && !is_stop(text); text++) {
        if (*text == '\'') {
            fputs(quote, stdout);
            continue;
        }
        if (strchr(escaped, *text) != NULL)
            putchar('\\');
        if (*text != '*')
            putchar(*text);
    }
}

static bool is_kind(const struct option *option, const char *kind)
{
    return strcmp(option->kind, kind) == 0;
}

/* How each shell completes what an option takes, where that is of a kind that it knows. */
static const struct source {
    const char *placeholder;
    const char *bash;
    const char *zsh;
    const char *fish;
} sources[] = {
    {"FILE", "-f", "_files", "-r -F"},
    {"DIR", "-d", "_files -/", "-x -a '(__fish_complete_directories)'"},
    {"USER", "-u", "_users", "-x -a '(__fish_complete_users)'"},
    {"GROUP[,GROUP...]", "-g", "_groups", "-x -a '(__fish_complete_groups)'"},
};

/* NULL: there are choices, or nothing to complete. */
static const struct source *source_of(const struct option *option)
{
    for (size_t i = 0; i < COUNT(sources); i++) {
        if (strcmp(option->placeholder, sources[i].placeholder) == 0)
            return &sources[i];
    }
    return NULL;
}

static void put_bash_options(const struct command *command)
{
    printf("    %s)\n        words=$%s_options\n        case $previous in\n", command->name, command->name);
    for (size_t i = 0; i < command->count; i++) {
        const struct option *option = &command->options[i];
        if (is_kind(option, "FLAG"))
            continue;
        printf("        --%s) ", option->name);
        if (source_of(option) != NULL) {
            printf("action=%s ;;\n", source_of(option)->bash);
        } else {
            fputs("words='", stdout);
            put_choices(option->placeholder, ":");
            puts("' ;;");
        }
    }
    puts("        esac ;;");
}

static void put_bash_names(const struct command *command)
{
    printf("    local %s_options='", command->name);
    for (size_t i = 0; i < command->count; i++)
        printf("--%s ", command->options[i].name);
    puts("--help --'");
}

static void put_bash(void)
{
    puts("# Completion of forkport(1) for bash(1), made from its options table.\n"
         "_forkport()\n"
         "{\n"
         "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} at words= "
         "action=");
    for (size_t i = 0; i < COUNT(commands); i++)
        put_bash_names(&commands[i]);
    fputs("    COMPREPLY=()\n"
          "    # Behind -- stands a program with its arguments.\n"
          "    for ((at = 2; at < COMP_CWORD; at++)); do\n"
          "        [[ ${COMP_WORDS[at]} == -- ]] || continue\n"
          "        if declare -F _command_offset >/dev/null; then\n"
          "            _command_offset $((at + 1))\n"
          "        elif ((at + 1 == COMP_CWORD)); then\n"
          "            COMPREPLY=($(compgen -c -- \"$current\"))\n"
          "        else\n"
          "            compopt -o filenames 2>/dev/null\n"
          "            mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
          "        fi\n"
          "        return\n"
          "    done\n"
          "    # --name=value is three words.\n"
          "    if [[ $current == = ]]; then\n"
          "        current=\n"
          "    elif [[ $previous == = ]]; then\n"
          "        previous=${COMP_WORDS[COMP_CWORD - 2]}\n"
          "    fi\n"
          "    ((COMP_CWORD > 1)) || words='--help --version'",
          stdout);
    for (size_t i = 0; i < COUNT(commands); i++)
        printf("' %s'", commands[i].name);
    puts("\n    case ${COMP_WORDS[1]} in");
    for (size_t i = 0; i < COUNT(commands); i++)
        put_bash_options(&commands[i]);
    puts("    esac\n"
         "    if [[ -n $action ]]; then\n"
         "        [[ $action != -[df] ]] || compopt -o filenames 2>/dev/null\n"
         "        mapfile -t COMPREPLY < <(compgen \"$action\" -- \"$current\")\n"
         "    else\n"
         "        COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "    fi\n"
         "}\n"
         "complete -F _forkport forkport");
}

static void put_zsh_options(const struct command *command)
{
    printf("    %s)\n        _arguments \\\n", command->name);
    for (size_t i = 0; i < command->count; i++) {
        const struct option *option = &command->options[i];
        printf("            '--%s%s[", option->name, is_kind(option, "FLAG") ? "" : "=");
        put_summary(option->help, "[]:\\", "'\\''");
        putchar(']');
        if (!is_kind(option, "FLAG"))
            printf(":%s:",
                   islower((unsigned char)option->placeholder[0]) ? option->name : option->placeholder);
        if (source_of(option) != NULL)
            fputs(source_of(option)->zsh, stdout);
        else if (islower((unsigned char)option->placeholder[0])) {
            putchar('(');
            put_choices(option->placeholder, "\\:");
            putchar(')');
        }
        puts("' \\");
    }
    printf("            '--help[Print the options]'%s ;;\n", command->zsh_operands);
}

static void put_zsh(void)
{
    puts("#compdef forkport\n"
         "# Completion of forkport(1) for zsh(1), made from its options table.\n"
         "local at=${words[(i)--]}\n"
         "if ((at < CURRENT)); then\n"
         "    # Behind -- stands a program with its arguments.\n"
         "    shift at words\n"
         "    ((CURRENT -= at))\n"
         "    _normal\n"
         "    return\n"
         "fi\n"
         "if ((CURRENT == 2)); then\n"
         "    local -a commands=(");
    for (size_t i = 0; i < COUNT(commands); i++)
        printf("        '%s:%s'\n", commands[i].name, commands[i].help);
    puts("    )\n"
         "    _describe command commands\n"
         "    _arguments '--help[Print the subcommands]' '--version[Print the version]'\n"
         "    return\n"
         "fi\n"
         "local command=$words[2]\n"
         "shift words\n"
         "((CURRENT--))\n"
         "case $command in");
    for (size_t i = 0; i < COUNT(commands); i++)
        put_zsh_options(&commands[i]);
    puts("esac");
}

static void put_fish_options(const struct command *command)
{
    for (size_t i = 0; i < command->count; i++) {
        const struct option *option = &command->options[i];
        printf("complete -c forkport -n '__forkport_in %s' -l %s", command->name, option->name);
        if (source_of(option) != NULL)
            printf(" %s", source_of(option)->fish);
        else if (!is_kind(option, "FLAG")) {
            fputs(" -x -a '", stdout);
            put_choices(option->placeholder, ":");
            putchar('\'');
        }
        fputs(" -d '", stdout);
        put_summary(option->help, "\\", "\\'");
        puts("'");
    }
    printf("complete -c forkport -n '__forkport_in %s' -l help -d 'Print the options'\n", command->name);
}

static void put_fish(void)
{
    puts("# Completion of forkport(1) for fish(1), made from its options table.\n"
         "function __forkport_in\n"
         "    set -l words (commandline -opc)\n"
         "    not contains -- -- $words; and test (count $words) -gt 1; and test $words[2] = $argv[1]\n"
         "end\n"
         "function __forkport_program\n"
         "    set -l words (commandline -opc) (commandline -ct)\n"
         "    set -l at (contains -i -- -- $words)\n"
         "    set -l program $words[(math $at + 1)..-1]\n"
         "    complete -C \"$program\"\n"
         "end\n"
         "complete -c forkport -f\n"
         "complete -c forkport -n __fish_is_first_token -l help -d 'Print the subcommands'\n"
         "complete -c forkport -n __fish_is_first_token -l version -d 'Print the version'\n"
         "complete -c forkport -n 'contains -- -- (commandline -opc)' -a '(__forkport_program)'");
    for (size_t i = 0; i < COUNT(commands); i++)
        printf("complete -c forkport -n __fish_is_first_token -a %s -d '%s'\n", commands[i].name,
               commands[i].help);
    for (size_t i = 0; i < COUNT(commands); i++)
        put_fish_options(&commands[i]);
}

static void put_list(void)
{
    for (size_t i = 0; i < COUNT(serve_options); i++) {
        const struct option *option = &serve_options[i];
        printf("option\t%s\t%s\t%s\t%s\t%s\t%s\n", option->name, option->placeholder, option->default_text,
               is_number(option) ? option->least : "", is_number(option) ? option->most : "", option->help);
    }
    for (size_t i = 1; i < COUNT(commands); i++) {
        for (size_t k = 0; k < commands[i].count; k++)
            printf("%s\t%s\t%s\n", commands[i].name, commands[i].options[k].name,
                   commands[i].options[k].placeholder);
    }
    for (size_t i = 0; i < COUNT(events); i++)
        printf("event\t%s\t%s\n", events[i].name, events[i].help);
    for (size_t i = 0; i < COUNT(fields); i++)
        printf("field\t%s\t%s\n", fields[i].name, fields[i].help);
    for (size_t i = 0; i < COUNT(checks); i++)
        printf("check\t%s\t%s\t%s\t%s\t%s\n", checks[i].id, checks[i].name, checks[i].use, checks[i].without,
               checks[i].remedy);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*put)(void);
    } outputs[] = {
        {"manual", put_manual}, {"bash", put_bash}, {"zsh", put_zsh}, {"fish", put_fish}, {"list", put_list},
    };

    for (size_t i = 0; argc == 2 && i < COUNT(outputs); i++) {
        if (strcmp(argv[1], outputs[i].name) == 0) {
            outputs[i].put();
            return ferror(stdin) || fflush(stdout) != 0 || ferror(stdout);
        }
    }
    fputs("usage: options manual|bash|zsh|fish|list\n", stderr);
    return 2;
}
