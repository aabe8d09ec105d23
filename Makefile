# forkport: the commands for people. Meson and Ninja do the work; what is missing is installed by tools/deps, which
# says what before it does (DEPS=no leaves that out).
#
# BUILD=DIR      the folder to build in (build)
# PREFIX=DIR     where make install puts things (/usr/local); DESTDIR=DIR goes before it
# TESTS=...      for make test: only these of pytest's, e.g. TESTS='tests/scenario -k echo'
# BENCH=...      for make bench: arguments of bench/run, e.g. BENCH='--quick --only tcpserver'
# SECONDS_FUZZ=N for make fuzz: how long each target runs (60)

BUILD ?= build
PREFIX ?= /usr/local
SECONDS_FUZZ ?= 60
JOBS := $(shell nproc 2>/dev/null || echo 1)

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j$(JOBS)

help:
	@echo 'make              build the program and the library in $(BUILD)/'
	@echo 'make run          build, and run the echo service on port 2121 of the loopback'
	@echo 'make test         build, and run every test'
	@echo 'make test-long    the same with 100,000 connections where make test takes fewer'
	@echo 'make test-asan    make test with the address and undefined behaviour sanitizers'
	@echo 'make gates        check the layers, ceilings, format, warnings, hardening'
	@echo 'make format       lay out every C file as .clang-format says'
	@echo 'make bench        measure against the peers and the bare loops'
	@echo 'make bench-template  measure forks of templates of 1, 64 and 512 MB'
	@echo 'make bench-latency  measure how long a client waits at half load and in a burst'
	@echo 'make bench-idle   measure the memory of 10,000 held connections, for each engine'
	@echo 'make bench-100k   hold 100,000 connections with a process each (a minute or two, 16 GB)'
	@echo 'make bench-million  1,000,000 connections through one service: each answered, nothing left'
	@echo 'make bench-demux  measure the demultiplexer against others, a million connections'
	@echo 'make bench-capture  measure demux --read against tshark, a million segments'
	@echo 'make fuzz         run the fuzz targets, each for a minute'
	@echo 'make install      install in PREFIX ($(PREFIX)), below DESTDIR'
	@echo 'make clean        remove what was built'
	@sed -n 's/^# \([A-Z_]*=\)/   \1/p' Makefile

# Cheap where nothing is missing: a few look-ups, no package manager.
deps-%:
	@tools/deps build $*

$(BUILD)/build.ninja: | deps-build
	@meson setup $(BUILD)

run: deps-build all
	@tools/run $(BUILD)

# A folder that was configured before cmocka or scdoc came (by make run) has no unit tests, or no manual, in it.
test: deps-test $(BUILD)/build.ninja
	@{ grep -q cmocka $(BUILD)/meson-info/intro-dependencies.json && \
		{ grep -q scdoc $(BUILD)/build.ninja || ! command -v scdoc >/dev/null; }; } || \
		meson setup --reconfigure $(BUILD) -Dtests=enabled
	@ninja -C $(BUILD) -j$(JOBS)
	@tools/test $(BUILD) $(TESTS)

# The figures of the longest scenarios at full size, for which make test has no time.
test-long: export FORKPORT_SCALE = 100000
test-long: test

test-asan: deps-asan deps-test
	@[ -e build-asan/build.ninja ] || \
		meson setup build-asan -Dtests=enabled -Db_sanitize=address,undefined -Db_lundef=false -Dbench=disabled
	@ninja -C build-asan -j$(JOBS)
	@ASAN_OPTIONS=halt_on_error=1:abort_on_error=1:detect_stack_use_after_return=1 \
		UBSAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_stacktrace=1 tools/test build-asan $(TESTS)

gates: deps-gates all
	@tools/gates $(BUILD)

format: deps-gates
	@git ls-files -- '*.c' '*.h' | xargs clang-format -i

bench: deps-build all
	@bench/run --build $(BUILD) $(BENCH)

bench-template: deps-build all
	@bench/template_size --build $(BUILD) $(BENCH)

bench-latency: deps-build all
	@bench/latency --build $(BUILD) $(BENCH)

bench-idle: deps-build all
	@bench/idle_memory --build $(BUILD) $(BENCH)

# Where it needs a sysctl of the host it says so and ends: BENCH=--may-raise-sysctls lets it.
bench-100k: deps-build all
	@bench/idle_memory --build $(BUILD) --count 100000 --engines fork $(BENCH)

bench-million: deps-build all
	@bench/million --build $(BUILD) $(BENCH)

bench-demux: deps-build all
	@bench/demux/run $(BUILD)

bench-capture: deps-build all
	@bench/demux_read $(BUILD)

fuzz: deps-fuzz
	@[ -e build-fuzz/build.ninja ] || CC=clang meson setup build-fuzz -Dfuzz=enabled \
		-Db_sanitize=address,undefined -Db_lundef=false -Dbench=disabled -Dtests=disabled -Dmanual=disabled
	@ninja -C build-fuzz -j$(JOBS)
	@tools/fuzz build-fuzz $(SECONDS_FUZZ)

install: deps-build deps-doc
	@[ ! -e $(BUILD)/build.ninja ] || set -- --reconfigure; \
		meson setup "$$@" $(BUILD) -Dprefix=$(PREFIX)
	@ninja -C $(BUILD) -j$(JOBS)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ldconfig

clean:
	rm -rf $(BUILD) build-asan build-clang build-fuzz

.NOTPARALLEL:
.PHONY: all help run test test-long test-asan gates format bench bench-template bench-latency bench-idle bench-100k bench-million bench-demux bench-capture fuzz install clean
