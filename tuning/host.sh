#!/usr/bin/env bash
# Tunes a Linux host for Shoal, and puts everything back. The why of each knob: host.md.
#
#   host.sh show  [-i NIC]                 what is set now
#   host.sh apply [-i NIC] [-c CPUS] [-b MICROSECONDS] [-n]
#                                          set it; old values are kept for undo
#   host.sh undo  [-n]                     put the old values back
#
#   -i NIC    the network card; without it nothing of the card is touched
#   -c CPUS   the CPUs that serve packets, such as 0-3; all by default
#   -b MICRO  poll sockets for so long before sleeping; not touched by default: it costs CPU
#   -n        say what would be done, and do nothing
#
# STATE_DIR (default /var/lib/shoal-tuning) holds the old values. Applying twice keeps the first
# ones. What a host doesn't have, or doesn't let us set, is named and left alone: that is no error.
# SYSFS and PROCFS stand in for /sys and /proc in tests.

set -uo pipefail

STATE_DIR=${STATE_DIR:-/var/lib/shoal-tuning}
SYSFS=${SYSFS:-/sys}
PROCFS=${PROCFS:-/proc}
NIC=""
CPUS=""
BUSY=""
DRY=0
MISSED=0

say() { printf '%s\n' "$*"; }
die() { printf 'host.sh: %s\n' "$*" >&2; exit 2; }

usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

# The value of a knob, as it must be written back. Choices like "always [madvise] never" give the
# one in brackets.
value_of() {
    local text
    text=$(cat "$1" 2>/dev/null) || return 1
    if [[ $text =~ \[([a-z_+-]+)\] ]]; then text=${BASH_REMATCH[1]}; fi
    printf '%s' "$text"
}

state_file() { printf '%s/old' "$STATE_DIR"; }

# keep PATH VALUE: remembers an old value, the first one only.
keep() {
    local file
    file=$(state_file)
    if [ -f "$file" ] && cut -f1 "$file" | grep -Fxq -- "$1"; then return 0; fi
    mkdir -p "$STATE_DIR" && printf '%s\t%s\n' "$1" "$2" >>"$file"
}

miss() {
    say "skipped  $1: $2"
    MISSED=$((MISSED + 1))
}

# put PATH VALUE: writes a knob after keeping its old value.
put() {
    local path=$1 new=$2 old
    if [ ! -e "$path" ]; then miss "$path" "not on this host"; return 0; fi
    if ! old=$(value_of "$path"); then miss "$path" "can't be read"; return 0; fi
    if [ "$old" = "$new" ]; then say "as is    $path = $new"; return 0; fi
    if [ "$DRY" = 1 ]; then say "would    $path: $old -> $new"; return 0; fi
    if [ ! -w "$path" ]; then miss "$path" "can't be written (root?)"; return 0; fi
    if ! keep "$path" "$old"; then miss "$path" "its old value can't be kept in $STATE_DIR"; return 0; fi
    if (printf '%s\n' "$new" >"$path") 2>/dev/null; then
        say "set      $path: $old -> $new"
    else
        miss "$path" "the kernel refused $new"
    fi
}

# at_least PATH N: as put, but leaves a larger number alone.
at_least() {
    local old
    old=$(value_of "$1" 2>/dev/null) || old=""
    if [[ $old =~ ^[0-9]+$ ]] && [ "$old" -ge "$2" ]; then say "as is    $1 = $old"; return 0; fi
    put "$1" "$2"
}

# The list of CPUs, such as 0-3, of the option or of the host.
cpus() {
    if [ -n "$CPUS" ]; then printf '%s' "$CPUS"; else cat "$SYSFS/devices/system/cpu/online" 2>/dev/null; fi
}

# One CPU number a line.
cpu_list() {
    local part low high
    for part in $(cpus | tr ',' ' '); do
        low=${part%-*}
        high=${part#*-}
        seq "$low" "$high"
    done
}

# mask CPU...: the kernel's form of a set, 32 bits a word, the highest first.
mask() {
    local -a words=()
    local cpu i top=0 out=""
    for cpu in "$@"; do
        i=$((cpu / 32))
        [ "$i" -gt "$top" ] && top=$i
        words[i]=$((${words[i]:-0} | 1 << (cpu % 32)))
    done
    for ((i = top; i >= 0; i--)); do out+=$(printf '%s%x' "${out:+,}" "${words[i]:-0}"); done
    printf '%s' "$out"
}

knobs() { # PATH<TAB>what it is, for show
    local sys=$PROCFS/sys cpu q
    printf '%s\taccept queue, cap\n' "$sys/net/core/somaxconn"
    printf '%s\thalf-open connections\n' "$sys/net/ipv4/tcp_max_syn_backlog"
    printf '%s\tpackets waiting for a CPU\n' "$sys/net/core/netdev_max_backlog"
    printf '%s\tpolling a socket, microseconds\n' "$sys/net/core/busy_read"
    printf '%s\tpolling in poll, microseconds\n' "$sys/net/core/busy_poll"
    printf '%s\topen files, host\n' "$sys/fs/file-max"
    printf '%s\topen files, limit of a process\n' "$sys/fs/nr_open"
    printf '%s\tovercommit\n' "$sys/vm/overcommit_memory"
    printf '%s\tio_uring switched off\n' "$sys/kernel/io_uring_disabled"
    printf '%s\thuge pages\n' "$SYSFS/kernel/mm/transparent_hugepage/enabled"
    printf '%s\thuge pages, defrag\n' "$SYSFS/kernel/mm/transparent_hugepage/defrag"
    for cpu in $(cpu_list); do
        printf '%s\tgovernor\n' "$SYSFS/devices/system/cpu/cpu$cpu/cpufreq/scaling_governor"
    done
    [ -n "$NIC" ] || return 0
    for q in "$SYSFS/class/net/$NIC"/queues/rx-*/rps_cpus; do printf '%s\tRPS\n' "$q"; done
    for q in "$SYSFS/class/net/$NIC"/queues/tx-*/xps_cpus; do printf '%s\tXPS\n' "$q"; done
    irqs | while read -r q; do printf '%s\tIRQ\n' "$PROCFS/irq/$q/smp_affinity"; done
}

# Interrupts of the card, in the order of its queues.
irqs() {
    if [ -d "$SYSFS/class/net/$NIC/device/msi_irqs" ]; then
        ls "$SYSFS/class/net/$NIC/device/msi_irqs" | sort -n
    else
        grep -E "[[:space:]]$NIC([-:].*)?$" "$PROCFS/interrupts" 2>/dev/null | sed 's/^ *\([0-9]*\):.*/\1/'
    fi
}

limits() {
    say "limits   of this shell, which services don't inherit: see shoal.service"
    say "         nofile $(ulimit -Sn) soft, $(ulimit -Hn) hard; memlock $(ulimit -Sl) soft, $(ulimit -Hl) hard"
}

show() {
    local path what now
    while IFS=$'\t' read -r path what; do
        if now=$(value_of "$path"); then say "$what: $now  ($path)"; else say "$what: not on this host  ($path)"; fi
    done < <(knobs)
    limits
    if [ -f "$(state_file)" ]; then say "applied: $(wc -l <"$(state_file)") old values in $(state_file)"; fi
}

apply_kernel() {
    local sys=$PROCFS/sys cpu
    at_least "$sys/net/core/somaxconn" 65535
    at_least "$sys/net/ipv4/tcp_max_syn_backlog" 65535
    at_least "$sys/net/core/netdev_max_backlog" 16384
    at_least "$sys/fs/nr_open" 1048576
    at_least "$sys/fs/file-max" 2097152
    if [ -n "$BUSY" ]; then
        put "$sys/net/core/busy_read" "$BUSY"
        put "$sys/net/core/busy_poll" "$BUSY"
    fi
    put "$SYSFS/kernel/mm/transparent_hugepage/enabled" madvise
    put "$SYSFS/kernel/mm/transparent_hugepage/defrag" madvise
    for cpu in $(cpu_list); do
        put "$SYSFS/devices/system/cpu/cpu$cpu/cpufreq/scaling_governor" performance
    done
}

# Queue i of the card, its interrupt and its sends, on CPU i of the list.
apply_nic() {
    local -a list queues
    local i=0 q irq all
    mapfile -t list < <(cpu_list)
    [ "${#list[@]}" -gt 0 ] || { miss "$NIC" "no CPUs known"; return 0; }
    if [ ! -d "$SYSFS/class/net/$NIC" ]; then miss "$NIC" "no such card"; return 0; fi
    if pgrep -x irqbalance >/dev/null 2>&1; then
        say "note     irqbalance runs and will move interrupts again: stop it, or keep it from $NIC"
    fi
    while read -r irq; do
        put "$PROCFS/irq/$irq/smp_affinity" "$(mask "${list[i % ${#list[@]}]}")"
        i=$((i + 1))
    done < <(irqs)
    [ "$i" -gt 0 ] || miss "$NIC" "no interrupts of its own (a virtual card)"
    mapfile -t queues < <(ls -d "$SYSFS/class/net/$NIC"/queues/rx-* 2>/dev/null | sort -V)
    all=$(mask "${list[@]}")
    for q in "${queues[@]}"; do
        # With a queue for every CPU the hardware spreads the load; RPS would only add a hop.
        if [ "${#queues[@]}" -ge "${#list[@]}" ]; then put "$q/rps_cpus" 0; else put "$q/rps_cpus" "$all"; fi
    done
    i=0
    while read -r q; do
        put "$q/xps_cpus" "$(mask "${list[i % ${#list[@]}]}")"
        i=$((i + 1))
    done < <(ls -d "$SYSFS/class/net/$NIC"/queues/tx-* 2>/dev/null | sort -V)
}

undo() {
    local file path old
    local -a failed=()
    file=$(state_file)
    [ -f "$file" ] || { say "nothing to undo: no $file"; return 0; }
    while IFS=$'\t' read -r path old; do
        if [ "$DRY" = 1 ]; then say "would    $path -> $old"; continue; fi
        if [ ! -e "$path" ]; then miss "$path" "gone"; continue; fi
        if (printf '%s\n' "$old" >"$path") 2>/dev/null; then
            say "restored $path = $old"
        else
            miss "$path" "can't be written (root?)"
            failed+=("$path"$'\t'"$old")
        fi
    done <"$file"
    [ "$DRY" = 1 ] && return 0
    # What couldn't be put back stays for another try.
    if [ "${#failed[@]}" -gt 0 ]; then printf '%s\n' "${failed[@]}" >"$file"; else rm -f "$file"; fi
}

main() {
    local what=${1:-}
    [ "$#" -gt 0 ] && shift
    while getopts 'i:c:b:n' opt; do
        case $opt in
            i) NIC=$OPTARG ;;
            c) CPUS=$OPTARG ;;
            b) BUSY=$OPTARG ;;
            n) DRY=1 ;;
            *) die "see: host.sh help" ;;
        esac
    done
    [[ -z $CPUS || $CPUS =~ ^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$ ]] || die "not a list of CPUs: $CPUS"
    [[ $NIC =~ ^[A-Za-z0-9._-]*$ ]] || die "not a network card: $NIC"
    [[ $BUSY =~ ^[0-9]*$ ]] || die "not a number of microseconds: $BUSY"
    case $what in
        show) show ;;
        apply)
            apply_kernel
            if [ -n "$NIC" ]; then apply_nic; else say "skipped  the network card: no -i"; fi
            limits
            ;;
        undo) undo ;;
        help | -h | --help) usage ;;
        *) usage >&2; exit 2 ;;
    esac
    [ "$MISSED" = 0 ] || say "$MISSED knobs were left alone"
}

main "$@"
