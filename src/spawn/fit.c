/* SPDX-License-Identifier: MIT */
#include "spawn/fit.h"

#include "sys/fd.h"
#include "sys/program.h"
#include "wire/elf.h"
#include "wire/template_message.h"

#include "version.h"

#include <limits.h>

#define LIBRARY      "libforkport-preload.so"
#define LIBRARY_READ "libforkport-preload-read.so"
#define NOT_FOUND(library)                  \
    "cannot wait at a gate, since " library \
    " is neither beside forkport, as /proc/self/exe has it, nor in " FORKPORT_LIBRARY_INSTALLED
#define NOT_MAPPED(library) \
    "cannot wait at a gate, since " library " lies where nothing may be mapped to be executed (noexec)"

static const char *why_not_elf(const struct program_file *file)
{
    switch (elf_read(file->bytes, file->length)) {
    case ELF_DYNAMIC:
        return NULL;
    case ELF_STATIC:
        return "is linked statically";
    case ELF_NO_START:
        return "does not start as programs of the C library do";
    case ELF_FOREIGN:
        return "is for another machine";
    case ELF_NO_PROGRAM:
        break;
    }
    return "is neither a program nor a script with #!";
}

static const char *why_not_program(const char *path)
{
    char interpreter[PATH_MAX];
    struct program_file file;
    const char *reason = NULL;

    for (int depth = 0; depth < SHEBANG_DEPTH_MAX; depth++) {
        if (program_map(path, &file) < 0)
            return "cannot be read";
        bool is_script = elf_read_script(file.bytes, file.length, interpreter, sizeof(interpreter));
        if (!is_script)
            reason = file.gains_rights ? "gains rights when it is run" : why_not_elf(&file);
        program_unmap(&file);
        if (!is_script)
            return reason;
        path = interpreter;
    }
    return "is a script of scripts";
}

static const char *why_not_so(const struct spawn_plan *plan)
{
    if (plan->resolve)
        return "is to be told its client's name, which takes a process that may wait";
    if (plan->setup.keep_count > TEMPLATE_KEPT_MAX)
        return "is to have more descriptors kept open than a template can be told of";
    return why_not_program(plan_template_path(plan));
}

int fit_open_library(const struct spawn_plan *plan, const char **ret_reason)
{
    const char *reason = why_not_so(plan);
    int fd = -1;

    if (reason == NULL) {
        bool at_read = plan->gate == TEMPLATE_GATE_READ;
        fd = program_open_companion(at_read ? LIBRARY_READ : LIBRARY, FORKPORT_LIBRARY_FOLDER,
                                    FORKPORT_LIBRARY_INSTALLED);
        if (fd < 0)
            reason = at_read ? NOT_FOUND(LIBRARY_READ) : NOT_FOUND(LIBRARY);
        else if (!program_has_path(fd))
            reason =
                "cannot wait at a gate, since the library for that is loaded by /proc, which is not there";
        else if (!program_can_be_mapped(fd))
            reason = at_read ? NOT_MAPPED(LIBRARY_READ) : NOT_MAPPED(LIBRARY);
    }
    *ret_reason = reason;
    if (reason == NULL)
        return fd;
    fd_close(fd);
    return -1;
}
