/* SPDX-License-Identifier: MIT
 *
 * config/identity.h - users and groups by name or number.
 *
 * Asks the host's user database (getpwnam_r(3), getgrouplist(3)) once, when the configuration is read, so that no name
 * is looked up while clients are served. On failure the identity is unchanged; the error is FP_CONFIG and names what
 * was not found, FP_USAGE where it is neither a name nor a number of one, or FP_SYSTEM where memory is short or the database cannot
 * be asked. The list of groups is owned by the struct config.
 */
#ifndef CONFIG_IDENTITY_H
#define CONFIG_IDENTITY_H

#include "config/config.h"

/* Sets uid, and gid and supplementary groups from the user's entry unless groups were given. A number needs no entry. */
enum fp_status identity_set_user(struct config_identity *identity, const char *user, struct fp_error *err);
/* "GROUP[,GROUP...]": sets gid and exactly the supplementary groups given. */
enum fp_status identity_set_groups(struct config_identity *identity, const char *groups,
                                   struct fp_error *err);

#endif
