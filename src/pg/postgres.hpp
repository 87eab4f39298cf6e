// The only door to PostgreSQL's headers, for pg/ and the rooms above it. core, wire and net are
// compiled with DTM_PURE_CPP, so that including it there is an error.
#pragma once

#ifdef DTM_PURE_CPP
#error "core, wire and net must not see postgres.h"
#endif

extern "C" {
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/elog.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
}

// PostgreSQL's port layer replaces the printf family by macros; C++ headers use the names as
// members.
#undef printf
#undef fprintf
#undef sprintf
#undef snprintf
#undef vprintf
#undef vfprintf
#undef vsprintf
#undef vsnprintf
#undef gettext
#undef _
