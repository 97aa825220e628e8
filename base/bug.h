/* SPDX-License-Identifier: MIT */
/*
 * bug.h - deliberate mistakes, for a test of the tests
 *
 * tests/crash/ has a second build of the library in which HF__BUG(NAME) is true if the environment
 * says HF_TEST_BUG=NAME: one rule of the log's protocol, or of what is made of stores, is then broken,
 * and the power-cut test must notice. Everywhere else HF__BUG is a constant 0 and the compiler drops what stands behind it.
 */
#ifndef HF_BASE_BUG_H
#define HF_BASE_BUG_H

#define HF__BUGS(X)                                                                                \
    X(COMMIT_NOT_SYNCED, "the log isn't synced at a commit")                                       \
    X(DURABLE_TOO_EARLY, "a commit is acknowledged by the sync of the one before")                 \
    X(APPLIED_BEFORE_DURABLE, "a commit is applied, then synced")                                  \
    X(LAZY_NOT_SYNCED, "hf_sync doesn't sync the log")                                             \
    X(WINDOW_NOT_SYNCED, "fresh space isn't synced before the record")                             \
    X(WINDOW_FROM_USED_END, "fresh space begins at the used end of the last commit")               \
    X(FRESH_END_FALLS, "fresh_end follows the used end down at each commit")                       \
    X(LINES_ABOVE_USED_END, "a record holds changed lines above the used end")                     \
    X(LAST_LINE_LEFT_OUT, "a record ends with the last whole line below the used end")             \
    X(LINES_FORGOTTEN_AT_ROLLBACK, "a rollback to a savepoint empties the set of changed lines")   \
    X(PRIVATE_TRIMMED_EARLY, "private pages of commits that aren't applied are dropped")           \
    X(UNDO_SKIPPED, "an abort leaves P as it is")                                                  \
    X(OTHERS_NOT_FOLLOWED, "private pages don't get what others have committed and applied")       \
    X(OTHERS_WINDOW_KEPT, "private pages stay where another has written fresh space")              \
    X(OTHERS_SWITCH_KEPT, "private pages stay when another has switched logs")                     \
    X(BLOCK_SHARED_WITH_DURABLE, "a record begins in the block of a durable one")                  \
    X(CLAIMS_TOO_MUCH, "synced_through names commits that aren't durable")                         \
    X(SWITCH_NOT_SYNCED, "the new log isn't synced at a switch")                                   \
    X(SWITCH_BEFORE_DATA, "the new log is synced before the data")                                 \
    X(CHECKPOINT_DATA_NOT_SYNCED, "a checkpoint doesn't sync the data")                            \
    X(CHECKPOINT_NOT_APPLIED, "a checkpoint leaves commits unapplied")                             \
    X(CHECKPOINT_LOG_NOT_SYNCED, "a checkpoint applies what isn't durable")                        \
    X(SWITCH_ERASES_OLD, "the old log's header goes before the new one is synced")                 \
    X(ZEROS_TOO_LOW, "what a commit frees is zeroed in the file before that is durable")           \
    X(START_LOGS_NOT_SYNCED, "new log files aren't synced")                                        \
    X(START_HEADER_BEFORE_LOGS, "the header says logged before the logs are synced")               \
    X(START_DIRECTORY_NOT_SYNCED, "the directory isn't synced when logs were made")                \
    X(START_DIRECTORY_LATE, "the directory is synced after the header says logged")                \
    X(START_HEADER_NOT_SYNCED, "the header isn't synced when it is written")                       \
    X(START_SAME_GENERATION, "the generation isn't counted, the other log's header stays")         \
    X(END_HEADER_BEFORE_DATA, "the header says clean, then the data is synced")                    \
    X(END_LOGS_GO_FIRST, "the logs are unlinked, then the header says clean")                      \
    X(UNSYNCED_FORGOTTEN, "the header says logged again, and NOSYNC doesn't notice")               \
    X(UNSYNCED_STAYS, "hf_sync and SYNC commits leave the header unsynced")                        \
    X(UNSYNCED_ENDS_UNSYNCED, "the header says logged before the log is synced")                   \
    X(UNSYNCED_TRUSTED, "what another boot left unsynced is recovered like any log")               \
    X(UNSYNCED_NOT_MARKED, "NOSYNC doesn't mark the header")                                       \
    X(UNSYNCED_ENDS_EARLY, "the header says logged again before the checkpoint")                   \
    X(FAILED_LOG_SYNC_RETRIED, "a failed sync of the log is simply tried again")                   \
    X(FAILED_DATA_SYNC_FORGOTTEN, "a failed sync of the data is followed by another one")          \
    X(WINDOW_FAILURE_IGNORED, "a commit goes on though its fresh space couldn't be synced")        \
    X(WINDOW_FAILURE_UNTOLD, "a failed sync of fresh space isn't one of the data")                 \
    X(UNKNOWN_ROLLED_BACK, "a record whose write failed counts, what it left in the window is undone") \
    X(RENEWED_HEADER_FIRST, "a renewed log gets its header before its records are synced")         \
    X(RENEWED_TOGETHER, "a renewed log's records and header are synced together")                  \
    X(RENEWED_OVER_RENEWAL, "a log is renewed over an earlier renewal, whose header stays")        \
    X(RENEWED_BASE_EARLY, "a renewed log begins at what is applied, but not synced")               \
    X(RECORD_NOT_CHECKED, "a record's checks aren't looked at")                                    \
    X(BODY_NOT_CHECKED, "the check of a record's content isn't looked at")                         \
    X(SALT_AND_CHAIN_UNUSED, "one salt for ever, and no chain")                                    \
    X(TORN_RECORD_SKIPPED, "a record behind a torn one is replayed")                               \
    X(OLDER_LOG_CHOSEN, "of two logs the older counts")                                            \
    X(RECOVERY_LOG_NOT_SYNCED, "recovery writes to the data file what may be nowhere else on the disk")  \
    X(RECOVERY_DATA_NOT_SYNCED, "recovery doesn't sync the data")                                  \
    X(RECOVERY_LAST_LEFT_OUT, "recovery leaves the last record out")                               \
    X(RECOVERY_LEAVES_SHORT, "recovery doesn't give the file the size that the segment has")       \
    X(RECOVERY_CLEAN_FIRST, "recovery says clean, then replays")                                   \
    X(RECOVERY_UNLINKS_FIRST, "recovery unlinks the logs, then says clean")                        \
    X(UNMARKED_PUNCHED, "free blocks that aren't marked become holes, too")                        \
    X(HOLES_NOT_SAID, "the page table isn't told of holes")                                        \
    X(PUNCHED_ABOVE_BASE, "space becomes a hole while records above the base may write there")     \
    X(BLOCKS_NOT_PUT_BACK, "a hole that is used again gets no disk blocks first")                  \
    X(BLOCKS_NOT_SYNCED, "a record is written before the blocks in its holes are stable")          \
    X(HOLES_NOT_SYNCED, "space becomes a hole before the page table says so on stable storage")    \
    X(PAGES_NOT_WRITTEN, "a checkpoint and a recovery leave the page table as it is")              \
    X(PAGES_AFTER_SYNC, "a checkpoint writes the page table when the data has been synced")         \
    X(PAGES_OF_RECORDS_ONLY, "the page table isn't written for fresh space and a moved used end")  \
    X(CREATE_NOT_SYNCED, "a new store gets its name before it is synced")                          \
    X(CREATE_DIRECTORY_NOT_SYNCED, "the directory isn't synced when a store was made")             \
    X(REPLACE_UNLINKS_FIRST, "a store that is replaced goes before the new one has its name")      \
    X(REPLACE_NOT_SYNCED, "what replaces a store gets its name before it is synced")               \
    X(SNAPSHOT_NOT_HELD, "a snapshot's view ends before the bytes are copied")                     \
    X(SNAPSHOT_OF_APPENDED, "a snapshot holds commits that aren't durable")                        \
    X(SNAPSHOT_TABLE_AS_FOUND, "a snapshot keeps the entries of pages that records lie over")      \
    X(REPAIR_SIDECARS_FIRST, "the broken store's logs go before the copy has its place")           \
    X(REPAIR_DIRECTORY_NOT_SYNCED, "the broken store's logs go before the directory is synced")    \
    X(REPAIR_WITHOUT_LOG, "a repair's copy has no log")                                            \
    X(SALVAGE_DIRECTORY_NOT_SYNCED, "the directory isn't synced when a store was salvaged")

#ifdef HF_TEST_BUGS
#define HF__BUG_NUMBER(name, text) HF__BUG_##name,
enum hf__bug { HF__BUGS(HF__BUG_NUMBER) HF__BUG_COUNT };
#undef HF__BUG_NUMBER
extern int hf__bug; /* set by the test before any call; -1: none */
#define HF__BUG(name) (hf__bug == HF__BUG_##name)
#else
#define HF__BUG(name) 0
#endif

#endif
