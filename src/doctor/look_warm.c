/* SPDX-License-Identifier: MIT */
#include "doctor/look.h"

#include "sys/fd.h"
#include "sys/probe.h"
#include "sys/program.h"
#include "version.h"

#include <errno.h>
#include <string.h>

static void look_library(struct doctor_finding *ret_finding, const char *name)
{
    char reason[160];

    FD_AUTO fd = program_open_companion(name, FORKPORT_LIBRARY_FOLDER, FORKPORT_LIBRARY_INSTALLED);
    if (fd < 0)
        look_found(ret_finding, errno == EACCES ? DOCTOR_NOT_PERMITTED : DOCTOR_MISSING, "%s: %s", name,
                   strerror(errno));
    else if (probe_load(fd, reason, sizeof(reason)) < 0)
        look_found(ret_finding, DOCTOR_MISSING, "%s cannot be loaded: %s", name,
                   reason[0] != '\0' ? reason : strerror(errno));
    else
        look_found(ret_finding, DOCTOR_OK, "%s can be loaded", name);
}

void look_preload(struct doctor_finding *ret_finding)
{
    look_library(ret_finding, "libforkport-preload.so");
}

void look_preload_read(struct doctor_finding *ret_finding)
{
    look_library(ret_finding, "libforkport-preload-read.so");
}

void look_clone_parent(struct doctor_finding *ret_finding)
{
    look_tried(ret_finding, probe_clone_parent() == 0, "works");
}

void look_collapse(struct doctor_finding *ret_finding)
{
    int64_t took_ns;

    if (probe_collapse(true, &took_ns) == 0)
        look_found(ret_finding, DOCTOR_OK, "done: 2 MiB in small pages became a huge one in %lld us",
                   (long long)(took_ns / 1000));
    else if (probe_collapse(false, &took_ns) == 0)
        look_found(ret_finding, DOCTOR_LOW, "of memory that is in no file only");
    else if (errno == EINVAL)
        look_found(ret_finding, DOCTOR_MISSING, "the kernel does not know it");
    else
        look_failed(ret_finding, errno);
}

void look_pinned(struct doctor_finding *ret_finding)
{
    look_tried(ret_finding, probe_pinned() == 0, "works");
}

/* "always [madvise] never": the one in brackets is set. */
void look_huge_pages(struct doctor_finding *ret_finding)
{
    char setting[96];

    if (probe_read("/sys/kernel/mm/transparent_hugepage/enabled", setting, sizeof(setting)) < 0) {
        look_failed(ret_finding, errno);
        return;
    }
    char *start = strchr(setting, '[');
    char *end = start != NULL ? strchr(start, ']') : NULL;
    if (end == NULL) {
        look_found(ret_finding, DOCTOR_MISSING, "the setting is not understood");
        return;
    }
    *end = '\0';
    bool is_never = strcmp(start + 1, "never") == 0;
    look_found(ret_finding, is_never ? DOCTOR_MISSING : DOCTOR_OK, "%s", start + 1);
}
