/* SPDX-License-Identifier: MIT */
#include "preload/variables.h"

#include "preload/block.h"

#include <stdlib.h>
#include <string.h>

#define OWN_PRELOAD "LD_PRELOAD="
#define PAGE_BYTES  4096
/* Of the texts of a connection, as nearly all are. */
#define TEXT_BYTES_USUAL 448

extern char **environ;

static struct {
    char **kept;  /* environ, as the program started with it */
    char **first; /* of a connection */
    uint32_t count;
    char *text; /* and their texts, in the block that the kernel made */
    size_t text_bytes;
} variables;

char **variables_find(const char *name)
{
    for (char **at = environ; at != NULL && *at != NULL; at++) {
        if (strncmp(*at, name, strlen(name)) == 0)
            return at;
    }
    return NULL;
}

static void name_own_preload(void)
{
    char **own = variables_find(TEMPLATE_OWN_PRELOAD);

    if (own != NULL)
        memcpy(*own, OWN_PRELOAD, strlen(OWN_PRELOAD));
}

/*
 * From the first variable that keeps room to the last of all they follow each other in memory, or the kernel is another one.
 * So does the C library's before them, of which it may have put a copy of its own in the place.
 */
bool variables_begin(char **room, bool is_tuned)
{
    static const char tunables[] = TEMPLATE_TUNABLES;
    char **at = room;

    variables.kept = environ;
    for (; at[1] != NULL; at++) {
        if (at[1] != at[0] + strlen(at[0]) + 1)
            return false;
    }
    variables.text = room[0];
    if (is_tuned) {
        room--;
        variables.text -= sizeof(tunables);
        if (memcmp(variables.text, tunables, sizeof(tunables)) != 0)
            return false;
    }
    variables.first = room;
    variables.count = (uint32_t)(at - room) + 1;
    variables.text_bytes = (size_t)(at[0] + strlen(at[0]) + 1 - variables.text);
    name_own_preload();
    memset(variables.text, 0, variables.text_bytes);
    /* The program's constructors see none of them. */
    room[0] = NULL;
    return true;
}

static size_t usual_bytes(void)
{
    return variables.text_bytes < TEXT_BYTES_USUAL ? variables.text_bytes : TEXT_BYTES_USUAL;
}

const void *variables_written_end(void)
{
    return variables.text + usual_bytes();
}

void variables_written(struct iovec ret_pieces[2])
{
    ret_pieces[0] = (struct iovec){.iov_base = variables.text, .iov_len = usual_bytes()};
    ret_pieces[1] = (struct iovec){.iov_base = variables.first, .iov_len = variables.count * sizeof(char *)};
}

size_t variables_block_bytes(int argc, char **argv, const void *top)
{
    if (environ != variables.kept)
        return 0;
    size_t bytes = block_look(argc, argv, variables.first + variables.count);
    if (bytes == 0)
        return 0;
    /* To the end of a page; what is left of the room may be on the next one, since nobody writes there. */
    return bytes + ((uintptr_t)top - (variables.text_bytes - usual_bytes())) % PAGE_BYTES;
}

char **variables_move_block(char **argv, void *room)
{
    if (!block_move(room))
        return argv;
    variables.first = block_moved(variables.first);
    variables.text = block_moved(variables.text);
    variables.kept = environ = block_moved(environ);
    return block_moved(argv);
}

void variables_follow(void)
{
    char **end = environ;

    if (environ != variables.kept)
        return;
    while (*end != NULL)
        end++;
    variables.first = end;
}

char *variables_text(size_t *ret_bytes)
{
    *ret_bytes = variables.text_bytes;
    return variables.text;
}

bool variables_fit(uint32_t count)
{
    return count <= variables.count;
}

/* What an earlier one left behind the text is no worker's to read. */
void variables_point(const struct template_order_head *order, size_t *used)
{
    char **next = variables.first;

    for (size_t at = order->text_length; at < *used; at++)
        ((volatile char *)variables.text)[at] = '\0';
    *used = order->text_length;
    for (size_t start = 0, at = 0; at < order->text_length; at++) {
        if (variables.text[at] != '\0')
            continue;
        *next++ = variables.text + start;
        start = at + 1;
    }
    *next = NULL;
}

void variables_set(uint32_t count)
{
    char name[64];

    /* One that has cleared it has none of them when it is executed either. */
    for (uint32_t i = 0; environ != variables.kept && environ != NULL && i < count; i++) {
        const char *equals = strchr(variables.first[i], '=');
        size_t length = equals != NULL ? (size_t)(equals - variables.first[i]) : sizeof(name);
        if (length >= sizeof(name))
            continue;
        memcpy(name, variables.first[i], length);
        name[length] = '\0';
        setenv(name, equals + 1, 1);
    }
}
