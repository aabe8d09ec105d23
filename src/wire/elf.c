/* SPDX-License-Identifier: MIT */
#include "wire/elf.h"

#include <elf.h>
#include <string.h>

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
#endif

struct image {
    const char *bytes;
    size_t length;
    Elf64_Ehdr header;
};

static bool read_at(const struct image *image, uint64_t offset, void *ret_value, size_t size)
{
    if (offset > image->length || size > image->length - offset)
        return false;
    memcpy(ret_value, image->bytes + offset, size);
    return true;
}

static bool find_segment(const struct image *image, uint32_t type, uint64_t address, Elf64_Phdr *ret_segment)
{
    for (unsigned i = 0; i < image->header.e_phnum; i++) {
        Elf64_Phdr segment;
        if (!read_at(image, image->header.e_phoff + (uint64_t)i * sizeof(segment), &segment, sizeof(segment)))
            return false;
        if (segment.p_type != type)
            continue;
        if (type == PT_LOAD && (address < segment.p_vaddr || address - segment.p_vaddr >= segment.p_filesz))
            continue;
        *ret_segment = segment;
        return true;
    }
    return false;
}

/* Among the names of a dynamic string table, this one, whole? */
static bool has_name(const struct image *image, uint64_t address, uint64_t size, const char *name)
{
    Elf64_Phdr segment;

    if (!find_segment(image, PT_LOAD, address, &segment))
        return false;
    uint64_t offset = segment.p_offset + (address - segment.p_vaddr);
    if (offset > image->length || size > image->length - offset)
        return false;
    return memmem(image->bytes + offset, size, name, strlen(name) + 1) != NULL;
}

static bool is_entered_by_library(const struct image *image)
{
    Elf64_Phdr dynamic;
    uint64_t names = 0;
    uint64_t size = 0;
    Elf64_Dyn entry;

    if (!find_segment(image, PT_DYNAMIC, 0, &dynamic))
        return false;
    for (uint64_t at = 0; at + sizeof(entry) <= dynamic.p_filesz; at += sizeof(entry)) {
        if (!read_at(image, dynamic.p_offset + at, &entry, sizeof(entry)) || entry.d_tag == DT_NULL)
            break;
        if (entry.d_tag == DT_STRTAB)
            names = entry.d_un.d_ptr;
        else if (entry.d_tag == DT_STRSZ)
            size = entry.d_un.d_val;
    }
    return has_name(image, names, size, "__libc_start_main");
}

enum elf_kind elf_read(const void *bytes, size_t length)
{
    struct image image = {.bytes = bytes, .length = length};
    Elf64_Phdr interpreter;

    if (!read_at(&image, 0, &image.header, sizeof(image.header)) ||
        memcmp(image.header.e_ident, ELFMAG, SELFMAG) != 0)
        return ELF_NO_PROGRAM;
    if (image.header.e_ident[EI_CLASS] != ELFCLASS64 || image.header.e_machine != MACHINE ||
        image.header.e_phentsize != sizeof(Elf64_Phdr))
        return ELF_FOREIGN;
    if (!find_segment(&image, PT_INTERP, 0, &interpreter))
        return ELF_STATIC;
    return is_entered_by_library(&image) ? ELF_DYNAMIC : ELF_NO_START;
}

static size_t skip_blanks(const char *text, size_t length, size_t at)
{
    while (at < length && (text[at] == ' ' || text[at] == '\t'))
        at++;
    return at;
}

/* Where the word, or with blanks in it the rest of the line, that begins at `at` ends; `length` where that is not there. */
static size_t find_end(const char *text, size_t length, size_t at, bool with_blanks)
{
    while (at < length && text[at] != '\n' && (with_blanks || (text[at] != ' ' && text[at] != '\t')))
        at++;
    return at;
}

static bool copy_part(const char *text, size_t at, size_t end, char *ret_part, size_t size)
{
    if (end == at || end - at >= size)
        return false;
    memcpy(ret_part, text + at, end - at);
    ret_part[end - at] = '\0';
    return true;
}

static bool find_interpreter(const char *text, size_t length, size_t *ret_at, size_t *ret_end)
{
    if (length < 2 || memcmp(text, "#!", 2) != 0)
        return false;
    *ret_at = skip_blanks(text, length, 2);
    *ret_end = find_end(text, length, *ret_at, false);
    return *ret_end < length;
}

bool elf_read_script(const void *bytes, size_t length, char *ret_interpreter, size_t size)
{
    size_t at;
    size_t end;

    return find_interpreter(bytes, length, &at, &end) && copy_part(bytes, at, end, ret_interpreter, size);
}

bool elf_read_script_argument(const void *bytes, size_t length, char *ret_argument, size_t size)
{
    const char *text = bytes;
    size_t at;
    size_t end;

    if (!find_interpreter(text, length, &at, &end))
        return false;
    at = skip_blanks(text, length, end);
    end = find_end(text, length, at, true);
    if (end == length)
        return false;
    while (end > at && (text[end - 1] == ' ' || text[end - 1] == '\t'))
        end--;
    return copy_part(text, at, end, ret_argument, size);
}
