/* SPDX-License-Identifier: MIT */
/*
 * interrupt.h - ending long work cleanly on Ctrl-C
 *
 * A store survives any kill, but then its sidecars stay until the next open. So long commands catch
 * SIGINT, SIGTERM and SIGHUP, look at interrupt_pending between steps, and abort by themselves.
 */
#ifndef HF_TOOLS_COMMON_INTERRUPT_H
#define HF_TOOLS_COMMON_INTERRUPT_H

#include <stdbool.h>

void interrupt_catch(void);
bool interrupt_pending(void);

#endif
