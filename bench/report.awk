# SPDX-License-Identifier: MIT
#
# report.awk - from raw results to a text table, JSON, or one HTML page
#
#   awk -v form=table|json|html -f report.awk -f page.awk goals.tsv machine.tsv results.tsv
#
# This file reads, compares and prints tables and JSON; page.awk draws the page.
#
# results.tsv has a line for each figure: workload, metric, n, peer, round, value, unit. Peers are
# compared within a round: a ratio is that of two figures of the same round, and what is told is the
# median of the ratios and the least and the largest. The first peer of a measurement is the one the
# others are divided by; scripts/bench runs Holdfast first. For POSIX awk.

BEGIN { FS = "\t"; file_count = 0 }
FNR == 1 { file_count++ }
/^#/ || NF == 0 { next }
file_count == 1 {
    goal[$1, $2, $3, $4] = $5
    goal_peer[$1, $2, $3, $4] = $6
    goal_metric[$1, $2, $3, $4] = $7
    next
}
file_count == 2 { machine_name[++machine_count] = $1; machine_value[machine_count] = $2; next }
{
    add($1, workloads, workload_seen, "")
    add($2, metrics, metric_seen, $1)
    if (is_ours($4))
        variant($4) # in this order
    add($3, sizes, size_seen, $1 SUBSEP $2)
    add($4, peers, peer_seen, $1 SUBSEP $2 SUBSEP $3)
    key = $1 SUBSEP $2 SUBSEP $3 SUBSEP $4
    figure[key, $5] = $6
    rounds_of[key] = rounds_of[key] == "" ? $5 : rounds_of[key] " " $5
    unit_of[$1, $2] = $7
}
END {
    list_figures()
    if (form == "json")
        print_json()
    else if (form == "html")
        print_html()
    else
        print_table()
}

# Appends value to list[group], a string of values with "\n" between, unless it is there.
function add(value, list, seen, group) {
    if ((group, value) in seen)
        return
    seen[group, value] = 1
    if (group in list)
        list[group] = list[group] "\n" value
    else
        list[group] = value
}

# What is told of, in its order: for each workload its metrics, for each of these the sizes, for each of
# these the peers.
function list_figures(    w, m, s, p, wl, ml, sl, pl) {
    split(workloads[""], wl, "\n")
    for (w = 1; w in wl; w++) {
        split(metrics[wl[w]], ml, "\n")
        for (m = 1; m in ml; m++) {
            split(sizes[wl[w], ml[m]], sl, "\n")
            for (s = 1; s in sl; s++) {
                split(peers[wl[w], ml[m], sl[s]], pl, "\n")
                for (p = 1; p in pl; p++) {
                    listed[++listed_count] = wl[w] SUBSEP ml[m] SUBSEP sl[s] SUBSEP pl[p]
                    first_peer[listed_count] = pl[1]
                }
            }
        }
    }
}
# Sets workload, metric, n, peer and unit to those of the i-th; key to what its figures are found by, and
# reference to that of the first peer of its group, to which others are compared.
function at_figure(i,    parts) {
    key = listed[i]
    split(key, parts, SUBSEP)
    is_first_of_workload = i == 1 || workload != parts[1]
    workload = parts[1]; metric = parts[2]; n = parts[3]; peer = parts[4]
    unit = unit_of[workload, metric]
    reference_peer = first_peer[i]
    is_first = peer == reference_peer
    reference = workload SUBSEP metric SUBSEP n SUBSEP reference_peer
}

# ---- statistics --------------------------------------------------------------------------------

function sort(values, count,    i, j, kept) {
    for (i = 2; i <= count; i++) {
        kept = values[i]
        for (j = i - 1; j >= 1 && values[j] > kept; j--)
            values[j + 1] = values[j]
        values[j + 1] = kept
    }
}
function median_of(sorted, count) {
    return count % 2 ? sorted[(count + 1) / 2] : (sorted[count / 2] + sorted[count / 2 + 1]) / 2
}
# Sets low, median and high to those of a peer's figures.
function summarise(key,    rounds, count, i, values) {
    count = split(rounds_of[key], rounds, " ")
    for (i = 1; i <= count; i++)
        values[i] = figure[key, rounds[i]] + 0
    sort(values, count)
    low = values[1]
    high = values[count]
    median = median_of(values, count)
}
# The same of the ratios to another peer's figures; 0 if no round has both.
function summarise_ratio(key, reference,    rounds, count, i, values, found) {
    count = split(rounds_of[key], rounds, " ")
    for (i = 1; i <= count; i++)
        if (((reference, rounds[i]) in figure) && figure[reference, rounds[i]] > 0)
            values[++found] = figure[key, rounds[i]] / figure[reference, rounds[i]]
    if (found == 0)
        return 0
    sort(values, found)
    low = values[1]
    high = values[found]
    median = median_of(values, found)
    return 1
}
# Whether there is a goal: sets goal_max (in the metric's unit; "" where what it is compared with was not
# measured), goal_value (what is held against it), goal_text and goal_met. A goal may be so many times
# another peer's figure, or that of another metric: then medians of ratios are compared.
function judge(workload, metric, n, peer,    at, key, other, factor) {
    at = workload SUBSEP metric SUBSEP n SUBSEP peer
    key = at
    if (!(at in goal))
        at = workload SUBSEP metric SUBSEP "*" SUBSEP peer
    if (!(at in goal))
        return 0
    factor = goal[at]
    if (goal_peer[at] == "") {
        summarise(key)
        goal_max = factor
        goal_value = median
        goal_text = "<= " factor
    } else {
        other = workload SUBSEP (goal_metric[at] == "" ? metric : goal_metric[at]) SUBSEP n SUBSEP goal_peer[at]
        if (!summarise_ratio(key, other))
            return 0
        goal_value = median
        summarise(other)
        goal_max = factor * median
        goal_text = sprintf("%s x %s, <= %s", short(goal_value),
            goal_metric[at] == "" ? goal_peer[at] : goal_metric[at], factor)
    }
    goal_met = goal_value <= factor + 0
    return 1
}
function short(value,    size) {
    size = value < 0 ? -value : value
    return sprintf(size >= 100 ? "%.0f" : size >= 10 ? "%.1f" : size >= 1 ? "%.2f" : "%.3g", value)
}
function short_size(n) {
    if (n >= 1000000 && n % 1000000 == 0)
        return n / 1000000 "M"
    return n >= 1000 && n % 1000 == 0 ? n / 1000 "k" : n
}

# ---- text --------------------------------------------------------------------------------------

function print_table(    i, line, wanted) {
    for (i = 1; i <= listed_count; i++) {
        at_figure(i)
        if (is_first_of_workload) {
            printf "\n%s: %s\n", workload, about(workload)
            printf "  %-26s %-6s %-22s %10s %-5s %-19s %-24s %s\n", "", "n", "peer", "median", "",
                "min..max", "x the first (min..max)", "goal"
        }
        summarise(key)
        line = sprintf("  %-26s %-6s %-22s %10s %-5s %-19s", is_first ? metric : "", is_first ? short_size(n) : "",
            peer, short(median), unit, short(low) ".." short(high))
        wanted = ""
        if (judge(workload, metric, n, peer))
            wanted = goal_text (goal_met ? "  met" : "  MISSED")
        if (!is_first && summarise_ratio(key, reference))
            line = line sprintf(" %-24s", short(median) "  (" short(low) ".." short(high) ")")
        else
            line = line sprintf(" %-24s", "")
        line = line " " wanted
        sub(/ +$/, "", line)
        print line
    }
}

# ---- JSON --------------------------------------------------------------------------------------

function quoted(text) {
    gsub(/\\/, "\\\\", text)
    gsub(/"/, "\\\"", text)
    gsub(/[[:cntrl:]]/, " ", text)
    return "\"" text "\""
}
function print_json(    i, r, rounds, count) {
    print "{"
    print "  \"machine\": {"
    for (i = 1; i <= machine_count; i++)
        printf "    %s: %s%s\n", quoted(machine_name[i]), quoted(machine_value[i]),
            (i < machine_count ? "," : "")
    print "  },"
    print "  \"results\": ["
    for (i = 1; i <= listed_count; i++) {
        at_figure(i)
        printf "    {\"workload\": %s, \"metric\": %s, \"n\": %s, \"peer\": %s, \"unit\": %s", quoted(workload),
            quoted(metric), n, quoted(peer), quoted(unit)
        printf ", \"values\": ["
        count = split(rounds_of[key], rounds, " ")
        for (r = 1; r <= count; r++)
            printf "%s%s", (r > 1 ? ", " : ""), figure[key, rounds[r]]
        summarise(key)
        printf "], \"median\": %.6g, \"min\": %.6g, \"max\": %.6g", median, low, high
        if (!is_first && summarise_ratio(key, reference))
            printf ", \"ratio_to\": %s, \"ratio_median\": %.4g, \"ratio_min\": %.4g, \"ratio_max\": %.4g",
                quoted(reference_peer), median, low, high
        if (judge(workload, metric, n, peer))
            printf ", \"goal_max\": %.6g, \"goal_met\": %s", goal_max, (goal_met ? "true" : "false")
        print "}" (i < listed_count ? "," : "")
    }
    print "  ]"
    print "}"
}

# ---- what is measured --------------------------------------------------------------------------

function about(workload) {
    if (workload == "alloc")
        return "raw memory: an alloc and a free, begin and commit included; and the bytes that are taken for each byte of payload"
    if (workload == "names")
        return "objects of 64 bytes by name, shuffled; the commit is in insert and destroy"
    if (workload == "scan")
        return "walking over all names in a view by their prefix; inserted in their order, or shuffled"
    if (workload == "commit-atomic")
        return "a commit of n updates that survives the death of the process, NOT durable against power loss"
    if (workload == "commit-durable")
        return "a commit of n updates that is on the disk when it returns"
    if (workload == "commit-threads")
        return "durable commits of one update by one thread and by two, beside raw syncs of one block by turns"
    if (workload == "recovery")
        return "opening a store whose process was killed, against the MiB of its log, beside the raw reading, writing and syncing of as many bytes"
    if (workload == "load")
        return "a bulk load of n records of 16 + 100 bytes, from creating the store until all is on the disk"
    if (workload == "read")
        return "random reads, one view or transaction around all; the mean over the readers"
    if (workload == "view")
        return "beginning and ending a view or read transaction, nothing read"
    if (workload == "open")
        return "open, find, close, nobody else there; n is records, or megabytes of file for open.size_mb"
    if (workload == "copy")
        return "copies of a store that is in use, each until it is on the disk, beside cp --reflink=never of its file: Holdfast's snapshots, archives and what is restored from them, LMDB's mdb_env_copy, SQLite's backup and VACUUM INTO; and durable commits of one update meanwhile"
    if (workload == "compact")
        return "making a store small of whose n objects every second was deleted: hf_compact, mdb_copy -c, VACUUM; links are typed objects that refer to each other, the rest are records of 16 + 100 bytes"
    if (workload == "check")
        return "hf_check_sanity"
    return ""
}
# A metric in words; those that differ in a number or two share a line.
function title_of(metric,    title) {
    title = titles[metric]
    if (title != "")
        return title
    if (metric ~ /^space/)
        return "Space: blocks of " substr(metric, 6) " bytes, bytes taken for a payload byte"
    if (metric ~ /^read\./) {
        title = substr(metric, 6)
        sub(/threads/, " thread(s)", title)
        sub(/processes/, " process(es)", title)
        return "Random reads by " title
    }
    return metric
}
BEGIN {
    titles["lifo64.pair"] = "64 bytes, freed at once (LIFO)"
    titles["mixed.pair"] = "16..1024 bytes, replaced at random"
    titles["mixed.space"] = "Space: 16..1024 bytes after churn, bytes taken for a payload byte"
    titles["many64.alloc"] = "64 bytes, all in one call"
    titles["many64.free"] = "64 bytes, freed in one call"
    titles["aligned256.pair"] = "256 bytes aligned to 256"
    titles["resize.pair"] = "Resize in place, 4000 bytes and back"
    titles["scan.sorted"] = "A name, inserted in order"
    titles["scan.random"] = "A name, inserted shuffled"
    titles["scan.sorted.names"] = "Bytes of names, inserted in order"
    titles["scan.random.names"] = "Bytes of names, inserted shuffled"
    titles["fixed64.cold"] = "64 bytes, fresh store, freed in random order"
    titles["fixed64.alloc"] = "64 bytes: the allocations"
    titles["fixed64.free"] = "64 bytes: the frees, in random order"
    titles["fixed64.pair"] = "64 bytes, freed in random order"
    titles["find"] = "Find"
    titles["missing"] = "Find a name that isn't there"
    titles["insert"] = "Insert"
    titles["destroy"] = "Destroy"
    titles["commit.p50"] = "A commit, median"
    titles["commit.mean"] = "A commit, mean, checkpoints and all"
    titles["commit.over_raw"] = "A commit over a raw append and sync, by turns"
    titles["commit.p99"] = "A commit, 99th percentile"
    titles["commit.device"] = "Bytes the device writes a commit"
    titles["commit.log"] = "Bytes the device writes a commit: log"
    titles["commit.data"] = "Bytes the device writes a commit: data, also later"
    titles["load.sorted"] = "Load in sorted order"
    titles["load.random"] = "Load in random order"
    titles["load.sorted.memory"] = "Most private memory, sorted"
    titles["load.random.memory"] = "Most private memory, random"
    titles["load.sorted.over_raw"] = "Sorted: beyond a raw write and sync of as many bytes"
    titles["load.random.over_raw"] = "Random: beyond a raw write and sync of as many bytes"
    titles["threads.1"] = "One thread (more is better)"
    titles["threads.2"] = "Two threads (more is better)"
    titles["threads.2_time"] = "Two threads: a commit's time over one thread's"
    titles["threads.2_time_raw"] = "The same, raw syncs"
    titles["threads.1_over_raw"] = "One thread over raw syncs"
    titles["threads.2_over_raw"] = "Two threads over raw syncs"
    titles["device.log"] = "Bytes the device writes a commit: log"
    titles["device.data"] = "Bytes the device writes a commit: data, when the store is closed"
    titles["view.pair"] = "Begin and end"
    titles["open"] = "Open, find, close: a small store"
    titles["open.size_mb"] = "Open, find, close, by the size of the file"
    ways = "file=A copy;clone=A clone (FICLONE);range=By copy_file_range;plain=Read and written;" \
        "compacted=A compacted copy;archive=An archive (zstd);increment=An archive of what 1% of changes touch;" \
        "restored=Restored from archive and increment"
    for (ways_left = split(ways, way_texts, ";"); ways_left > 0; ways_left--) {
        split(way_texts[ways_left], way, "=")
        titles["copy." way[1]] = way[2] ", bytes of the store a second (more is better)"
        titles["copy." way[1] ".over_cp"] = way[2] ": time over that of cp"
        titles["copy." way[1] ".size"] = way[2] ": its bytes over those of the store"
        titles["copy." way[1] ".p50"] = way[2] ": a commit meanwhile, median"
        titles["copy." way[1] ".p99"] = way[2] ": a commit meanwhile, 99th percentile"
        titles["copy." way[1] ".held"] = way[2] ": how long commits were kept from new views, at most"
    }
    titles["copy.cp"] = "cp, bytes of the store a second (more is better)"
    titles["copy.quiet.p50"] = "No copy: a commit, median"
    titles["copy.quiet.p99"] = "No copy: a commit, 99th percentile"
    titles["compact.object"] = "Compaction, for each object that is left"
    titles["compact.speed"] = "Compaction, bytes of the new file a second (more is better)"
    titles["compact.copy"] = "A plain copy of the new file, bytes a second (more is better)"
    titles["compact.over_copy"] = "Compaction: time over that of a plain copy of the new file"
    titles["compact.before"] = "Bytes of the file for a byte of payload, before"
    titles["compact.after"] = "Bytes of the file for a byte of payload, after"
    titles["compact.live"] = "Bytes of the new file for a byte that its objects need"
    titles["check.object"] = "Check, for each object"
    titles["check.speed"] = "Check: bytes in use a second (more is better)"
}
# What n counts.
function counted(workload, metric) {
    if (workload ~ /^commit/)
        return "updates a commit"
    if (metric == "open.size_mb")
        return "MB of file"
    if (workload == "recovery")
        return "MiB of log"
    return workload == "alloc" ? "blocks" : workload == "names" ? "names" : "objects"
}
