/* SPDX-License-Identifier: MIT */
/*
 * protocols.h - the models of model_protocol.c, and the rules each can break on purpose
 */
#ifndef HF_TESTS_MODEL_PROTOCOLS_H
#define HF_TESTS_MODEL_PROTOCOLS_H

#include "explore.h"

enum gate_bug {
    GATE_LOOKS_BEFORE_ITS_SLOT = 1, /* a reader looks at the gate, then takes its slot           */
    GATE_LOOKS_BEFORE_CLOSING,      /* a closer looks at the slots, then closes                  */
    GATE_OPENS_WITHOUT_APPLYING,    /* who finds the gate stuck opens it                         */
    GATE_GIVES_UP_OPENING,          /* who gives up opens, though it was stuck before            */
    GATE_FAILS_OPENING,             /* who fails to apply opens                                  */
    GATE_KEEPS_DEAD_READERS,        /* slots of the dead aren't freed                            */
    GATE_BELIEVES_FIRST_LOOK,       /* "stuck" without looking again after finding it dead       */
    GATE_ID_BEFORE_SLOT,            /* a new process uses its id before its slot says it         */
};

enum place_bug {
    PLACE_STEALS_BY_STORE = 1,      /* no compare-and-swap                                       */
    PLACE_TELLS_NOBODY,             /* a thief doesn't set `adopt`                               */
    PLACE_CLEARS_FIRST,             /* `adopt` cleared before it is done                         */
    PLACE_WITHOUT_THREADS,          /* no thread lock                                            */
    PLACE_NEVER_STEALS,
    PLACE_SAME_GENERATION,          /* a slot's next owner has the same id                       */
};

enum log_bug {
    LOG_SEALS_LATE = 1,             /* durable rises to what is sealed after the sync            */
    LOG_RAISES_TO_APPENDED,         /* durable rises to what is appended after the sync          */
    LOG_IGNORES_SEAL,               /* records share blocks whatever is sealed                   */
    LOG_SHARES_SEALED_BLOCK,        /* only the last record of the block mustn't be sealed       */
    LOG_SEALS_WHILE_SHARING,        /* the housekeeper doesn't look for a record being written   */
    LOG_APPLIES_APPENDED,           /* beyond durable                                            */
    LOG_PUBLISHES_FRONT_FIRST,      /* `applied` before the bytes are written                    */
    LOG_DOESNT_ADOPT,               /* the next writer goes on from the tail                     */
    LOG_PUBLISHES_TAIL_FIRST,       /* before the record stands                                  */
    LOG_ACKNOWLEDGES_EARLY,         /* before the sync                                           */
    LOG_SHARES_WHEN_SYNC,           /* SYNC records share blocks, too                            */
};

enum switch_bug {
    SWITCH_APPENDS_MEANWHILE = 1,   /* `switching` isn't looked at                               */
    SWITCH_BEFORE_DATA_SYNC,        /* the other header before C3                                */
    SWITCH_BEFORE_APPLYING,         /* the other header before C2                                */
    SWITCH_PUBLISHES_BEFORE_SYNC,   /* C6 before C5                                              */
    SWITCH_SKIPS_LOG_SYNC,          /* no C1                                                     */
    SWITCH_RENEWS_HEADER_FIRST,     /* a renewal's header before its records are synced          */
    SWITCH_RENEWS_BY_APPLYING,      /* a renewal applies what is appended, then switches         */
    SWITCH_CLEARS_FAILED_EARLY,     /* log_failed before the new log is synced                   */
    SWITCH_APPENDS_TO_FAILED,       /* log_failed isn't looked at                                */
    SWITCH_FORGETS_FAILURE,         /* a failed sync that a higher `durable` excuses isn't told  */
    SWITCH_TELLS_LATE,              /* log_failed after the descriptor was given back            */
    SWITCH_IGNORES_DATA_FAILURE,    /* the next checkpoint doesn't write all again               */
    SWITCH_BELIEVES_SYNC,           /* log_failed isn't looked at again after a sync             */
    SWITCH_RENEWS_LESS,             /* a renewal goes on without published records it can't read */
    SWITCH_RENEWS_OVER_A_RENEWAL,   /* what an earlier one left is written over as it stands     */
    SWITCH_ERASES_ONCE,             /* zeros in the cache are taken for zeros on the disk        */
};

extern const struct protocol protocol_gate, protocol_places, protocol_log, protocol_log_three,
    protocol_switch, protocol_switch_log_fails, protocol_switch_fails_dies,
    protocol_switch_renewal_fails, protocol_switch_data_fails;

#endif
