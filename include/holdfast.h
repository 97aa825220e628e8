/* SPDX-License-Identifier: MIT */
/* holdfast.h - the one header a program includes. The manual is in the headers it pulls in. */
#ifndef HOLDFAST_H
#define HOLDFAST_H
#include "holdfast/holdfast.h"
#endif
