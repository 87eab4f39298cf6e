# dtm_pg. `make help` lists the targets.
#
# PG_CONFIG= chooses the PostgreSQL to build for, CXX= the compiler; `make WERROR=` builds where a
# newer compiler warns about something that ours does not know yet.

MODULE_big  = dtm_pg
EXTENSION   = dtm_pg
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" dtm_pg.control)

# The rooms of src/ (src/README.md draws them). The pure ones are compiled without the PostgreSQL
# include path: including postgres.h there is an error, not a matter of taste.
PURE_ROOMS = core wire net
SOURCES   := $(sort $(wildcard src/*.cpp src/*/*.cpp))
OBJS       = $(patsubst src/%.cpp,build/%.o,$(SOURCES))
PURE_OBJS  = $(filter $(patsubst %,build/%/%.o,$(PURE_ROOMS)),$(OBJS))

# The install script is the concatenation of its fragments in lexical order. What is released is
# frozen in src/schema/released; the way from there to this version is made of the fragments that
# came since, until this version is released, too.
FRAGMENTS  := $(sort $(wildcard src/schema/*.sql))
RELEASED    = 0.1.0
SINCE      := $(sort $(wildcard src/schema/[678]*.sql) src/schema/95_rights.sql)
UPGRADE     = dtm_pg--$(RELEASED)--$(EXTVERSION).sql
DATA        = $(sort $(wildcard src/schema/released/*.sql)) src/script/dtm_pg_barrier.sql
DATA_built  = dtm_pg--$(EXTVERSION).sql $(UPGRADE)

# nopreload_* expect a server without shared_preload_libraries; tests/run has one for them.
REGRESS ?= $(filter-out nopreload_%,$(sort $(basename $(notdir $(wildcard sql/*.sql)))))

WERROR   = -Werror
WARNINGS = -Wall -Wextra -Wshadow $(WERROR)
OUR_CXXFLAGS = -std=c++20 $(WARNINGS) -fvisibility=hidden -fvisibility-inlines-hidden -pthread
# Tests kill the process at named points (src/crash_point.hpp).
ifdef CRASH_POINTS
OUR_CXXFLAGS += -DDTM_CRASH_POINTS -g0
endif
SHLIB_LINK = -lcurl -lprometheus-cpp-core -lssl -lcrypto -lstdc++ -pthread
EXTRA_CLEAN = build results regression.diffs regression.out output_iso log tmp_check

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
HAVE_PGXS := $(wildcard $(PGXS))

# No LLVM bitcode (of no use to a coordinator, doubles the build) and no dependency files of PGXS
# (they collide for equal base names); ours are below.
override with_llvm = no
override autodepend = no

ifneq ($(HAVE_PGXS),)
.DEFAULT_GOAL := all
include $(PGXS)
# Flags that the compiler of PostgreSQL knew and ours may refuse. CFLAGS only links: nothing is C.
override CXXFLAGS := $(filter-out -fexcess-precision=standard,$(CXXFLAGS))
override CFLAGS := $(filter-out -W%,$(CFLAGS))
COMPILE = $(CXX) $(CXXFLAGS) $(OUR_CXXFLAGS) -MMD -MP
# PostgreSQL 15 and older mark nothing as exported: with hidden visibility the magic block would vanish.
EXPORT = -DPGDLLEXPORT='__attribute__((visibility("default")))'
PG_INCLUDES = $(EXPORT) -Isrc -isystem $(shell $(PG_CONFIG) --includedir-server) $(CPPFLAGS)
else
.DEFAULT_GOAL := all
.PHONY: all install installcheck clean
all install installcheck:
	@echo "No PostgreSQL server headers: '$(PG_CONFIG) --pgxs' names no existing file." >&2
	@echo "Run 'make deps', or pass PG_CONFIG=/path/to/pg_config of a PostgreSQL with headers." >&2
	@exit 1
clean:
	rm -rf build dtm_pg.so dtm_pg--*.sql results regression.diffs regression.out
endif

# A changed compiler, flag, PostgreSQL or list of files rebuilds what it touches.
build/flags: FORCE
	@mkdir -p build
	@printf '%s\n' '$(subst ','\'',$(COMPILE) $(PG_INCLUDES) $(shell $(PG_CONFIG) --version))' > $@.$$$$ && \
	 if cmp -s $@.$$$$ $@; then rm $@.$$$$; else mv $@.$$$$ $@; fi
build/files: FORCE
	@mkdir -p build
	@printf '%s\n' $(SOURCES) $(FRAGMENTS) > $@.$$$$ && \
	 if cmp -s $@.$$$$ $@; then rm $@.$$$$; else mv $@.$$$$ $@; fi
FORCE:

build/%.o: src/%.cpp build/flags
	@mkdir -p $(@D)
	$(COMPILE) $(INCLUDES) -c -o $@ $<
$(OBJS): INCLUDES = $(PG_INCLUDES)
$(PURE_OBJS): INCLUDES = -Isrc -DDTM_PURE_CPP
dtm_pg.so: build/files

dtm_pg--$(EXTVERSION).sql: $(FRAGMENTS) build/files dtm_pg.control
	cat $(FRAGMENTS) > $@.$$$$ && mv $@.$$$$ $@

# ALTER EXTENSION UPDATE leaves the comment as it is.
$(UPGRADE): $(SINCE) dtm_pg.control Makefile
	{ cat $(SINCE); echo 'SELECT dtm.own_identity(false);'; \
	  sed -n "s/^comment *= *\('.*'\)/COMMENT ON EXTENSION dtm_pg IS \1;/p" dtm_pg.control; } > $@.$$$$ && \
	 mv $@.$$$$ $@

-include $(OBJS:.o=.d)

# Everything else is a script that finds out what is missing, does its work and says what it did.

.PHONY: deps deps-test test chaos demo bench format format-check tidy help FORCE
export PG_CONFIG

deps:        ## install the packages that building needs (Debian, Ubuntu)
	@tests/lib/deps build
deps-test:   ## install the packages that `make test` and `make demo` need
	@tests/lib/deps build server test
test: deps-test  ## run every test; `tests/run --help` runs single ones
	@tests/run
chaos: deps-test ## transfers while everything is killed at random: SECONDS=600 SEED=7
	@DTM_CHAOS_SECONDS=$(SECONDS) DTM_SEED=$(SEED) tests/run -v chaos
demo:        ## a transfer between two services, in a throw-away PostgreSQL
	@tests/lib/deps build server
	@tests/demo/run
bench: deps-test ## measure throughput and latency
	@tests/bench/run
	@tests/bench/http --compare-inserts
	@tests/bench/barrier

FORMATTED = $(shell find src tests -name '*.cpp' -o -name '*.hpp')
format:      ## format the C++ sources
	clang-format -i $(FORMATTED)
format-check:
	clang-format --dry-run --Werror $(FORMATTED)
tidy:        ## check structure (always) and run clang-tidy (where it is installed)
	@tests/tidy/check.py
	@if command -v clang-tidy >/dev/null; then tests/tidy/clang-tidy $(SOURCES); \
	 else echo "clang-tidy is not installed: only the structure was checked"; fi
help:        ## this list
	@printf 'make                 build dtm_pg.so and the install script\n'
	@printf 'make install         install them into the directories of PG_CONFIG\n'
	@printf 'make installcheck    pg_regress against a running server (PGHOST, PGPORT)\n'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/make \1|\2/p' Makefile \
	  | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'
