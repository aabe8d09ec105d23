/* SPDX-License-Identifier: MIT
 *
 * figures/claim.h - what section 2.10 says, sentence by sentence, held against what was seen.
 *
 * A claim has the sentence, and a check that looks at the story alone and says what it saw: the proof, or, where it
 * does not hold, what contradicts it. Nothing is taken as given: a socket that is missing makes the claims about it fail. Pure
 * functions of a value; they neither ask the kernel nor fail otherwise.
 */
#ifndef FIGURES_CLAIM_H
#define FIGURES_CLAIM_H

#include "base/text.h"
#include "figures/story.h"

#define CLAIM_PROOF_SIZE 512

struct claim {
    const char *figure; /* "2.11", ...; "end" for the last paragraph */
    const char *says;
    bool (*holds)(const struct story *story, struct text *proof);
};

extern const struct claim claims[];
extern const size_t claim_count;

/* The proof is written in either case. */
bool claim_check(const struct claim *claim, const struct story *story, char ret_proof[CLAIM_PROOF_SIZE]);
/* How many do not hold. */
size_t claims_failed(const struct story *story);

#endif
