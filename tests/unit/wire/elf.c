/* SPDX-License-Identifier: MIT */
#include "wire/elf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* This test itself: dynamic, and entered as a program of the C library is. */
static char *read_self(size_t *ret_length)
{
    FILE *file = fopen("/proc/self/exe", "rb");
    char *bytes = malloc(64 << 20);

    assert_non_null(file);
    assert_non_null(bytes);
    *ret_length = fread(bytes, 1, 64 << 20, file);
    fclose(file);
    return bytes;
}

static void *find_segment(char *bytes, uint32_t type)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)(void *)bytes;
    Elf64_Phdr *segments = (Elf64_Phdr *)(void *)(bytes + header->e_phoff);

    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type == type)
            return &segments[i];
    }
    return NULL;
}

static void test_kinds(void **state)
{
    size_t length;
    char *bytes = read_self(&length);
    Elf64_Phdr *interpreter = find_segment(bytes, PT_INTERP);
    Elf64_Ehdr *header = (Elf64_Ehdr *)(void *)bytes;

    (void)state;
    assert_int_equal(elf_read(bytes, length), ELF_DYNAMIC);
    char *name = memmem(bytes, length, "__libc_start_main", 17);
    assert_non_null(name);
    for (; name != NULL;
         name = memmem(name + 1, length - (size_t)(name + 1 - bytes), "__libc_start_main", 17))
        name[0] = 'x';
    assert_int_equal(elf_read(bytes, length), ELF_NO_START);
    assert_non_null(interpreter);
    interpreter->p_type = PT_NULL;
    assert_int_equal(elf_read(bytes, length), ELF_STATIC);
    header->e_machine = EM_68K;
    assert_int_equal(elf_read(bytes, length), ELF_FOREIGN);
    bytes[0] = 'x';
    assert_int_equal(elf_read(bytes, length), ELF_NO_PROGRAM);
    free(bytes);
}

/* A name that goes on is another, and headers of another size than ours are read by nobody here. */
static void test_what_is_like_ours(void **state)
{
    size_t length;
    char *bytes = read_self(&length);
    Elf64_Ehdr *header = (Elf64_Ehdr *)(void *)bytes;
    char *name = bytes;

    (void)state;
    while ((name = memmem(name + 1, length - (size_t)(name + 1 - bytes), "__libc_start_main", 18)) != NULL)
        name[17] = 'x';
    assert_int_equal(elf_read(bytes, length), ELF_NO_START);
    header->e_phentsize = sizeof(Elf32_Phdr);
    assert_int_equal(elf_read(bytes, length), ELF_FOREIGN);
    header->e_phentsize = sizeof(Elf64_Phdr);
    header->e_ident[EI_CLASS] = ELFCLASS32;
    assert_int_equal(elf_read(bytes, length), ELF_FOREIGN);
    free(bytes);
}

/* Cut anywhere in its front, and with each byte of its headers changed, it is read within its bounds (the sanitizer sees to that). */
static void test_broken(void **state)
{
    size_t length;
    char *bytes = read_self(&length);

    (void)state;
    for (size_t cut = 0; cut < 2048; cut++) {
        char *part = malloc(cut + 1);
        assert_non_null(part);
        memcpy(part, bytes, cut);
        assert_int_not_equal(elf_read(part, cut), ELF_DYNAMIC);
        free(part);
    }
    for (size_t at = 0; at < 1024; at++) {
        char old = bytes[at];
        bytes[at] = (char)0xff;
        elf_read(bytes, length);
        bytes[at] = old;
    }
    free(bytes);
}

static void check_script(const char *text, size_t size, const char *expected)
{
    char interpreter[64] = "unset";
    bool is_script = elf_read_script(text, strlen(text), interpreter, size);

    assert_int_equal(is_script, expected != NULL);
    assert_string_equal(interpreter, expected != NULL ? expected : "unset");
}

static void check_argument(const char *text, size_t size, const char *expected)
{
    char argument[64] = "?";
    bool has_argument = elf_read_script_argument(text, strlen(text), argument, size);

    assert_int_equal(has_argument, expected != NULL);
    assert_string_equal(argument, expected != NULL ? expected : "?");
}

static void test_arguments_of_scripts(void **state)
{
    (void)state;
    check_argument("#!/bin/sh\n", 64, NULL);
    check_argument("#!/bin/sh  \t\n-x\n", 64, NULL);
    check_argument("#!/bin/sh -x\n", 64, "-x");
    check_argument("#!/bin/sh\t-x\n", 64, "-x");
    check_argument("#! /usr/bin/env -S a\tb  c \t\n", 64, "-S a\tb  c");
    check_argument("#!/bin/sh -x", 64, NULL);
    check_argument("#!/bin/sh 123\n", 4, "123");
    check_argument("#!/bin/sh 123\n", 3, NULL);
    check_argument("/bin/sh -x\n", 64, NULL);
    check_argument("#!", 64, NULL);
}

static void test_scripts(void **state)
{
    (void)state;
    check_script("#!/bin/sh\n", 64, "/bin/sh");
    check_script("#! /usr/bin/env python3\n", 64, "/usr/bin/env");
    check_script("#!\t/bin/x -a\n", 64, "/bin/x");
    check_script("#!/bin/x\t-a\n", 64, "/bin/x");
    check_script("#!/bin/sh", 64, NULL); /* no end of line: not whole, for all we know */
    check_script("#!/bin/sh\n", 8, "/bin/sh");
    check_script("#!/bin/sh\n", 7, NULL);
    check_script("#!\n", 64, NULL);
    check_script("# !/bin/sh\n", 64, NULL);
    check_script("#", 64, NULL);
    check_script("", 64, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_what_is_like_ours),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_scripts),
        cmocka_unit_test(test_arguments_of_scripts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
