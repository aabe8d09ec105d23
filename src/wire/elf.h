/* SPDX-License-Identifier: MIT
 *
 * wire/elf.h - what a program file says of how it will be started.
 *
 * Reads an ELF file in memory (64 bits, this machine's byte order) as far as its dynamic section: whether there is a
 * dynamic loader, which would load a library of ours before it, and whether it is entered by the C library's
 * __libc_start_main(). A script says its interpreter and that one's argument. Any bytes may be given; nothing is believed
 * that does not lie within them. No errors but the answer itself.
 */
#ifndef WIRE_ELF_H
#define WIRE_ELF_H

#include <stdbool.h>
#include <stddef.h>

enum elf_kind {
    ELF_DYNAMIC,   /* of a C library, by a dynamic loader */
    ELF_STATIC,    /* no dynamic loader */
    ELF_NO_START,  /* a dynamic loader, but not the C library's start: Go, for one */
    ELF_FOREIGN,   /* not of this machine */
    ELF_NO_PROGRAM /* nothing of the kind */
};

enum elf_kind elf_read(const void *bytes, size_t length);
/* "#!/usr/bin/env -S x": the interpreter without its argument. False: no script, or its line is longer than `size`. */
bool elf_read_script(const void *bytes, size_t length, char *ret_interpreter, size_t size);
/* "-S x": what stands behind the interpreter, as one text, which is how the kernel gives it. False: nothing does, or it is longer. */
bool elf_read_script_argument(const void *bytes, size_t length, char *ret_argument, size_t size);

#endif
