# forkport: the commands for people. Meson and Ninja do the work.
BUILD ?= build

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	meson setup $(BUILD)

.PHONY: all
