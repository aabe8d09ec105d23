/* SPDX-License-Identifier: MIT */
#include "doctor/doctor.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH        79
#define NAME_WIDTH   22
#define VERDICT_SIZE 14
#define INDENT       6

static void put_more(struct text *text, const char *label, const char *words)
{
    text_printf(text, "%*s%-9s", INDENT, "", label);
    text_words(text, INDENT + 9, WIDTH, words);
}

static void put_check(struct text *text, const struct doctor_check *check,
                      const struct doctor_finding *finding)
{
    size_t column = 2 + NAME_WIDTH + 1 + VERDICT_SIZE;

    text_printf(text, "  %-*s %-*s", NAME_WIDTH, check->name, VERDICT_SIZE,
                doctor_verdict_name(finding->verdict));
    text_words(text, column, WIDTH, finding->found);
    if (finding->verdict == DOCTOR_OK)
        return;
    put_more(text, "for", check->use);
    put_more(text, "without", check->without);
    put_more(text, "remedy", check->remedy);
}

void doctor_text(const struct doctor_finding findings[], struct text *text)
{
    unsigned counts[DOCTOR_MISSING + 1] = {0};
    const char *group = "";

    for (size_t i = 0; i < doctor_check_count; i++) {
        const struct doctor_check *check = &doctor_checks[i];
        if (strcmp(group, check->group) != 0)
            text_printf(text, "%s%s\n", i > 0 ? "\n" : "", check->group);
        group = check->group;
        put_check(text, check, &findings[i]);
        counts[findings[i].verdict]++;
    }
    text_printf(text, "\n%u ok, %u low, %u not permitted, %u missing; forkport serve %s\n", counts[DOCTOR_OK],
                counts[DOCTOR_LOW], counts[DOCTOR_NOT_PERMITTED], counts[DOCTOR_MISSING],
                doctor_serves(findings) ? "has what it needs" : "cannot run");
}

static const char *rank_name(enum doctor_rank rank)
{
    switch (rank) {
    case DOCTOR_NEEDED:
        return "serve";
    case DOCTOR_NEEDED_THERE:
        return "group";
    case DOCTOR_USEFUL:
        break;
    }
    return "nothing";
}

/* What was found may be in bytes that are no UTF-8, as a reason of the loader's is that names a path. */
static json_t *found_value(const struct doctor_finding *finding)
{
    char room[4 * sizeof(finding->found) + 1];
    struct text escaped;

    text_init(&escaped, room, sizeof(room));
    text_escape(&escaped, finding->found, strlen(finding->found));
    text_end(&escaped);
    return json_string(room);
}

static bool put_line(const struct doctor_check *check, const struct doctor_finding *finding,
                     struct text *text)
{
    json_t *line =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:s}", "check", check->id, "group", check->group,
                  "name", check->name, "verdict", doctor_verdict_name(finding->verdict), "needed_by",
                  rank_name(check->rank), "found", found_value(finding), "use", check->use, "without",
                  check->without, "remedy", check->remedy);
    char *dump = line != NULL ? json_dumps(line, JSON_COMPACT) : NULL;

    if (dump != NULL) {
        text_string(text, dump);
        text_string(text, "\n");
    }
    bool done = dump != NULL;
    free(dump);
    json_decref(line);
    return done;
}

bool doctor_json(const struct doctor_finding findings[], struct text *text)
{
    for (size_t i = 0; i < doctor_check_count; i++) {
        if (!put_line(&doctor_checks[i], &findings[i], text))
            return false;
    }
    return true;
}
