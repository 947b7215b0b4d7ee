# Shared by the entry scripts: printing, Debian packages, and how many compile jobs fit the machine.
# Sourced, never run. Callers set `set -euo pipefail` and $assume_yes (0 or 1).

build_packages="g++ cmake ninja-build libboost1.81-dev libnghttp2-dev libc-ares-dev libcurl4-openssl-dev libssl-dev librocksdb-dev
    nlohmann-json3-dev libroaring-dev libpugixml-dev libcli11-dev libspdlog-dev prometheus-cpp-dev libjemalloc-dev
    libtomlplusplus-dev"
test_packages="catch2 clang-14 libclang-rt-14-dev clang-format-14 clang-tidy-14 nghttp2-client ccache openssl python3-venv"

say() { printf '%s\n' "$*"; }

# One clear line, then the end.
fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

heading() { printf '\n== %s (%s)\n' "$*" "$(date +%H:%M:%S)"; }

is_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif ! command -v sudo >/dev/null; then
        fail "root rights are needed and sudo is missing; run as root: $*"
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

# Installs those of the named packages that are missing. Whatever apt would remove for them is named and asked about.
install_packages() {
    command -v apt-get >/dev/null || fail "apt-get not found; Debian 12 is needed"
    local missing=() package
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        say "packages: all $# already installed"
        return
    fi
    say "packages to install: ${missing[*]}"
    local log
    log=$(mktemp)
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >"$log" 2>&1 ||
        { cat "$log" >&2; fail "apt-get update failed (network or sources.list)"; }
    local plan removed
    plan=$(LC_ALL=C apt-get -s install --no-install-recommends "${missing[@]}" 2>&1) ||
        { say "$plan" >&2; fail "apt cannot install: ${missing[*]}"; }
    removed=$(awk '/^Remv /{print $2}' <<<"$plan" | sort | tr '\n' ' ')
    if [ -n "$removed" ]; then
        say "apt would REMOVE: $removed(libboost1.81-dev takes the place of an installed Boost 1.74)"
        if [ "$assume_yes" = 1 ]; then
            say "going on, as --yes (or CI=true) said"
        elif [ -t 0 ]; then
            local answer
            read -r -p "Remove them? [y/N] " answer
            case $answer in
                y | Y | yes) ;;
                *) fail "nothing was changed" ;;
            esac
        else
            fail "nothing was changed; to allow it run: $0 --yes"
        fi
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}" >"$log" 2>&1 </dev/null ||
        { tail -n 20 "$log" >&2; fail "apt-get install failed for: ${missing[*]}"; }
    rm -f "$log"
    for package in "${missing[@]}"; do
        say "installed $package $(dpkg-query -W -f='${Version}' "$package")"
    done
}

# Cores, but no more than one job per 1.5 GiB of memory that is free for us (a cgroup's bound counts).
compile_jobs() {
    local free_kib cores bound
    free_kib=$(awk '/^MemAvailable:/{print $2}' /proc/meminfo)
    bound=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
    if [ "$bound" != max ] && [ $((bound / 1024)) -lt "$free_kib" ]; then
        free_kib=$((bound / 1024))
    fi
    cores=$(nproc)
    local jobs=$((free_kib / (1536 * 1024)))
    [ "$jobs" -ge 1 ] || jobs=1
    [ "$jobs" -le "$cores" ] || jobs=$cores
    echo "$jobs"
}

# build PRESET [TARGET...]: configure and compile; the log is shown only when something fails.
build() {
    local preset=$1 jobs started=$SECONDS log
    shift
    jobs=$(compile_jobs)
    mkdir -p build
    log=build/$preset.log
    say "building preset $preset: ${*:-everything}, $jobs jobs"
    cmake --preset "$preset" >"$log" 2>&1 || { tail -n 30 "$log" >&2; return 1; }
    if [ -t 1 ]; then
        cmake --build "build/$preset" -j "$jobs" ${1:+--target "$@"} 2>&1 | tee -a "$log" |
            stdbuf -oL grep -E '^\[[0-9]+/[0-9]+\]' | stdbuf -oL tr '\n' '\r' || true
        say ""
    else
        cmake --build "build/$preset" -j "$jobs" ${1:+--target "$@"} >>"$log" 2>&1 &
        local builder=$! at
        while kill -0 "$builder" 2>/dev/null; do
            sleep 1
            if [ $(((SECONDS - started) % 30)) -eq 0 ]; then
                at=$(grep -oE '^\[[0-9]+/[0-9]+\]' "$log" | tail -n 1 || true)
                [ -z "$at" ] || say "  $at after $((SECONDS - started)) s"
            fi
        done
        wait "$builder" || true
    fi
    cmake --build "build/$preset" -j "$jobs" ${1:+--target "$@"} >>"$log" 2>&1 ||
        { grep -nE 'error|FAILED|undefined|Killed' "$log" | tail -n 30 >&2; say "full log: $log" >&2; return 1; }
    say "built in $((SECONDS - started)) s"
}
