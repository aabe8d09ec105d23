/* SPDX-License-Identifier: MIT */
#include "spawn/shebang.h"

#include "sys/program.h"
#include "wire/elf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SPLIT  "-S"
#define BLANKS " \t"
/* With these a word of -S is not what it looks like. */
#define SPECIAL "\\'\"$#\r\v\f"

static bool is_env(const char *interpreter)
{
    return strcmp(interpreter, "/usr/bin/env") == 0 || strcmp(interpreter, "/bin/env") == 0;
}

/* The argument of a script's interpreter, where that is env; malloc'ed, or NULL. */
static char *argument_of_env(const char *path)
{
    char interpreter[SHEBANG_LINE_BYTES];
    char argument[SHEBANG_LINE_BYTES] = "";
    struct program_file file;

    if (program_map(path, &file) < 0)
        return NULL;
    bool found = elf_read_script(file.bytes, file.length, interpreter, sizeof(interpreter)) &&
                 is_env(interpreter) &&
                 elf_read_script_argument(file.bytes, file.length, argument, sizeof(argument));
    program_unmap(&file);
    return found ? strdup(argument) : NULL;
}

/* How many words `text` is for env, set apart by zeros and pointed to; 0: it is not so plain. */
static size_t split(char *text, char *words[SHEBANG_LINE_BYTES])
{
    size_t count = 0;

    if (strncmp(text, SPLIT, strlen(SPLIT)) != 0) {
        words[count++] = text;
    } else {
        char *rest = NULL;
        if (strpbrk(text, SPECIAL) != NULL)
            return 0;
        for (char *word = strtok_r(text + strlen(SPLIT), BLANKS, &rest); word != NULL;
             word = strtok_r(NULL, BLANKS, &rest))
            words[count++] = word;
    }
    /* An option, or a variable to be set. */
    if (count == 0 || words[0][0] == '-' || words[0][0] == '\0' || strchr(words[0], '=') != NULL)
        return 0;
    return count;
}

/* Its words, the script, and the script's own arguments. */
static char **join(char *const words[], size_t count, const char *path, char *const argv[])
{
    size_t own = 0;

    while (argv[own] != NULL)
        own++;
    char **joined = calloc(count + own + 2, sizeof(*joined));
    if (joined == NULL)
        return NULL;
    memcpy(joined, words, count * sizeof(*joined));
    joined[count] = (char *)path;
    if (own > 1)
        memcpy(joined + count + 1, argv + 1, (own - 1) * sizeof(*joined));
    return joined;
}

enum fp_status shebang_init(struct shebang *shebang, const char *path, char *const argv[],
                            struct fp_error *err)
{
    char *words[SHEBANG_LINE_BYTES];

    memset(shebang, 0, sizeof(*shebang));
    shebang->text = argument_of_env(path);
    size_t count = shebang->text != NULL ? split(shebang->text, words) : 0;
    if (count > 0)
        shebang->path = program_find(words[0]);
    if (shebang->path == NULL) {
        /* Not plain, or not there, which env will say. */
        shebang_done(shebang);
        return FP_OK;
    }
    shebang->argv = join(words, count, path, argv);
    if (shebang->argv != NULL)
        return FP_OK;
    shebang_done(shebang);
    return error_set(err, FP_SYSTEM, ENOMEM, "prepare", "%s", path);
}

void shebang_done(struct shebang *shebang)
{
    free(shebang->path);
    free(shebang->argv);
    free(shebang->text);
    memset(shebang, 0, sizeof(*shebang));
}

bool shebang_can_run(const char *path, char ret_interpreter[SHEBANG_LINE_BYTES])
{
    struct program_file file;
    bool is_script = true;

    /* What may be run and not be read is the kernel's to judge. */
    for (int depth = 0; is_script && depth < SHEBANG_DEPTH_MAX && program_map(path, &file) == 0; depth++) {
        is_script = elf_read_script(file.bytes, file.length, ret_interpreter, SHEBANG_LINE_BYTES);
        program_unmap(&file);
        if (is_script && program_check(ret_interpreter) < 0)
            return false;
        path = ret_interpreter;
    }
    return true;
}
