# hardnetd: `make run` shows it working, `make test` proves it. `make help` lists the rest.

CARGO ?= cargo
PYTHON ?= python3
PREFIX ?= /usr/local
# The target of packages that run on this machine.
HOST = x86_64-unknown-linux-gnu
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
UNITS = systemd/hardnetd.service systemd/hardnetd@.service
BASH_COMPLETION = share/bash-completion/completions/hardnetd
ZSH_COMPLETION = share/zsh/site-functions/_hardnetd
FISH_COMPLETION = share/fish/vendor_completions.d/hardnetd.fish

# For building and running; then what the tests also need: encoders, an RTSP server, a broker, systemd-analyze, a
# browser for reports.
RUN_PACKAGES = gcc libc6-dev make pkg-config libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev \
	gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-libav glib-networking
TEST_PACKAGES = gstreamer1.0-tools gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly libgstrtspserver-1.0-dev \
	mosquitto mosquitto-clients prometheus systemd vlc-bin vlc-plugin-base iproute2 chromium
# For the training data of the default model: photographs and stamps, encoders, and what tests of the crate link with.
DATA_PACKAGES = plasma-workspace-wallpapers mate-backgrounds lomiri-wallpapers-16.04 gcompris-qt-data tuxpaint-data \
	tuxpaint-stamps-default gstreamer1.0-plugins-ugly libgstrtspserver-1.0-dev
# For building for ARM, and for running the result here.
CROSS_PACKAGES = gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross mmdebstrap \
	qemu-user
# For making packages, and for testing them in a virtual machine.
PACKAGE_PACKAGES = debhelper lintian qemu-user
VM_PACKAGES = mmdebstrap fakeroot e2fsprogs qemu-system-x86 seabios
# For the Python environment of `make bench-peers`.
PEER_PACKAGES = python3 python3-venv

.PHONY: help deps deps-run build train-build model model-data run test check audit fmt figures bench bench-peers bench-pipeline bench-reconnects soak footprint cross test-arm deb test-vm fuzz install uninstall clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## Install every system package that building, running and testing need
	@./.ci/packages $(RUN_PACKAGES) $(TEST_PACKAGES)

deps-run: ## Install the system packages that building and running need
	@./.ci/packages $(RUN_PACKAGES)

build: deps-run ## Build the program: target/release/hardnetd
	$(CARGO) build --release --locked

train-build: deps-run ## Build the program with `hardnetd train`, which needs Rust 1.95: target/release/hardnetd
	$(CARGO) build --release --locked --features train

model: train-build ## Make the default model anew: data, training, models/signal.safetensors. Two hours on two fast cores
	models/make target/release/hardnetd

model-data: ## Make the training data of the default model: OUTPUT=target/model-data ARGS="--seed 1 --train 24000 ..."
	@./.ci/packages $(RUN_PACKAGES) $(DATA_PACKAGES)
	$(CARGO) run --profile quick --no-default-features --locked --example signal_data -- \
		--output $(or $(OUTPUT),target/model-data) $(ARGS)

run: deps-run ## Classify the built-in test stream: 100 results as JSON Lines. A quick build, without tract
	$(CARGO) build --profile quick --no-default-features --locked
	./target/quick/hardnetd run --source test:smpte --frames 100 --sink stdout

test: deps ## Run every test, those of `hardnetd train` too (Rust 1.95), and say at the end which failed
	@CARGO="$(CARGO)" ./.ci/test --features train

check: deps ## Formatting, lints and documentation, warnings denied
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --features train -- -D warnings
	$(CARGO) clippy --locked --no-default-features --lib --bins -- -D warnings
	$(CARGO) check --locked --features train-wgpu --lib
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items --features train

audit: ## Licences, duplicates, sources and advisories of the libraries; builds cargo-deny where it is not installed
	@./.ci/packages $(RUN_PACKAGES)
	@CARGO="$(CARGO)" ./.ci/audit

fmt: ## Format the sources
	$(CARGO) fmt

figures: ## Draw the figures of the documents
	@./.ci/packages graphviz
	for figure in docs/figures/*.dot; do dot -Tsvg "$$figure" -o "$${figure%.dot}.svg" || exit 1; done

bench: deps-run ## Measure preprocessing and inference on this machine
	$(CARGO) bench --locked --bench stages

cross: ## Build for another processor, to run on Debian 11 or newer: make cross TARGET=aarch64-unknown-linux-gnu
	@./.ci/packages $(RUN_PACKAGES) $(CROSS_PACKAGES)
	cross/build $(TARGET)

test-arm: ## Run the tests for ARM on emulated processors: the Raspberry Pi 3, 4 and 5, and 32 bits; QUICK=quick for a part
	@./.ci/packages $(RUN_PACKAGES) $(CROSS_PACKAGES)
	cross/test $(QUICK)

bench-peers: build ## Compare with other engines; MODELS="hardnet68 ...", THREADS=1, ROUNDS=20, CORE=first, SIZE=HxW
	@./.ci/packages $(PEER_PACKAGES)
	$(PYTHON) -B benches/peers/install.py target/peers/venv
	target/peers/venv/bin/python -B benches/peers/compare.py $(if $(MODELS),--models "$(MODELS)") \
		$(if $(THREADS),--threads $(THREADS)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(CORE),--core $(CORE)) \
		$(if $(SIZE),--size $(SIZE))

soak: build ## Run for a while with cameras that fail: MINUTES=30
	@./.ci/packages python3 $(RUN_PACKAGES) gstreamer1.0-tools gstreamer1.0-plugins-ugly gstreamer1.0-plugins-bad \
		vlc-bin vlc-plugin-base
	$(PYTHON) -B benches/soak.py $(if $(MINUTES),--minutes $(MINUTES))

bench-pipeline: build ## Compare with Python, OpenCV and ONNX Runtime from a video to results: FRAMES=300, ROUNDS=5
	@./.ci/packages $(PEER_PACKAGES) gstreamer1.0-tools gstreamer1.0-plugins-ugly gstreamer1.0-plugins-bad
	$(PYTHON) -B benches/peers/install.py target/pipeline/venv benches/pipeline/requirements.txt
	target/pipeline/venv/bin/python -B benches/pipeline/compare.py $(if $(FRAMES),--frames $(FRAMES)) \
		$(if $(ROUNDS),--rounds $(ROUNDS))

bench-reconnects: build ## What reconnects of a camera leave behind: memory, descriptors, threads; CONNECTIONS=500
	@./.ci/packages python3 gstreamer1.0-tools gstreamer1.0-plugins-ugly gstreamer1.0-plugins-bad
	$(PYTHON) -B benches/reconnects.py $(if $(CONNECTIONS),--connections $(CONNECTIONS))

footprint: build ## Size, time to the first result, memory and processor time with one stream
	@./.ci/packages python3
	$(PYTHON) -B benches/footprint.py

deb: ## Make a Debian package: make deb TARGET=aarch64-unknown-linux-gnu; without TARGET, for x86-64
	@./.ci/packages $(RUN_PACKAGES) $(CROSS_PACKAGES) $(PACKAGE_PACKAGES)
	cross/build $(or $(TARGET),$(HOST))
	cross/package $(or $(TARGET),$(HOST))

fuzz: deps-run ## Look for faults with inputs out of bytes: make fuzz TARGET=run SECONDS=600
	fuzz/run $(or $(TARGET),run) $(or $(SECONDS),600)

test-vm: ## Try the package in a virtual machine with systemd: installing, running, upgrading, purging
	@./.ci/packages $(VM_PACKAGES)
	$(MAKE) deb TARGET=$(HOST)
	REVISION=2 cross/package $(HOST)
	tests/vm/run target/debian/hardnetd_$(VERSION)-1_amd64.deb target/debian/hardnetd_$(VERSION)-2_amd64.deb

install: ## Install what `make build` has built, under $(DESTDIR)$(PREFIX) and /etc: program, units, man pages, completions, configuration
	@test -x target/release/hardnetd || { echo "there is no target/release/hardnetd: run 'make build' first" >&2; exit 1; }
	install -D -m 755 target/release/hardnetd $(DESTDIR)$(PREFIX)/bin/hardnetd
	install -D -m 644 -t $(DESTDIR)/etc/systemd/system $(UNITS)
	sed -i 's|/usr/bin/hardnetd|$(PREFIX)/bin/hardnetd|; s|/usr/share/hardnetd|$(PREFIX)/share/hardnetd|' \
		$(UNITS:systemd/%=$(DESTDIR)/etc/systemd/system/%)
	install -D -m 644 systemd/hardnetd.sysusers $(DESTDIR)/etc/sysusers.d/hardnetd.conf
	install -D -m 644 systemd/hardnetd.rules $(DESTDIR)/etc/udev/rules.d/60-hardnetd.rules
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/hardnetd/boards systemd/boards/*.conf
	sed -i 's|/usr/share/hardnetd|$(PREFIX)/share/hardnetd|' $(DESTDIR)$(PREFIX)/share/hardnetd/boards/*.conf
	rm -rf target/install && target/release/hardnetd man target/install
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 target/install/*.1
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man5 target/install/*.5
	for shell in bash zsh fish; do target/release/hardnetd completions $$shell >target/install/$$shell || exit 1; done
	install -D -m 644 target/install/bash $(DESTDIR)$(PREFIX)/$(BASH_COMPLETION)
	install -D -m 644 target/install/zsh $(DESTDIR)$(PREFIX)/$(ZSH_COMPLETION)
	install -D -m 644 target/install/fish $(DESTDIR)$(PREFIX)/$(FISH_COMPLETION)
	test -e $(DESTDIR)/etc/hardnetd/hardnetd.toml || install -D -m 644 configs/default.toml $(DESTDIR)/etc/hardnetd/hardnetd.toml

uninstall: ## Remove what install put there; the configuration stays
	rm -f $(DESTDIR)$(PREFIX)/bin/hardnetd $(UNITS:systemd/%=$(DESTDIR)/etc/systemd/system/%) \
		$(DESTDIR)/etc/sysusers.d/hardnetd.conf $(DESTDIR)/etc/udev/rules.d/60-hardnetd.rules \
		$(addprefix $(DESTDIR)$(PREFIX)/,$(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION)) \
		$(DESTDIR)$(PREFIX)/share/man/man1/hardnetd.1 $(DESTDIR)$(PREFIX)/share/man/man1/hardnetd-*.1 \
		$(DESTDIR)$(PREFIX)/share/man/man5/hardnetd.toml.5
	rm -rf $(DESTDIR)$(PREFIX)/share/hardnetd

clean: ## Remove what was built
	$(CARGO) clean
