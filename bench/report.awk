# SPDX-License-Identifier: MIT
#
# report.awk - from raw results to a text table, JSON, or one HTML page
#
#   awk -v form=table|json|html -f report.awk goals.tsv machine.tsv results.tsv
#
# results.tsv has a line for each figure: workload, metric, n, peer, round, value, unit. Peers are
# compared within a round: a ratio is that of two figures of the same round, and what is told is the
# median of the ratios and the least and the largest. The first peer of a measurement is the one the
# others are divided by; scripts/bench runs Holdfast first. For POSIX awk.

BEGIN { FS = "\t"; file_count = 0 }
FNR == 1 { file_count++ }
/^#/ || NF == 0 { next }
file_count == 1 { goal[$1, $2, $3, $4] = $5; next }
file_count == 2 { machine_name[++machine_count] = $1; machine_value[machine_count] = $2; next }
{
    add($1, workloads, workload_seen, "")
    add($2, metrics, metric_seen, $1)
    add($3, sizes, size_seen, $1 SUBSEP $2)
    add($4, peers, peer_seen, $1 SUBSEP $2 SUBSEP $3)
    if (!($4 in colour_of)) {
        colour_of[$4] = colours++
    }
    key = $1 SUBSEP $2 SUBSEP $3 SUBSEP $4
    figure[key, $5] = $6
    rounds_of[key] = rounds_of[key] == "" ? $5 : rounds_of[key] " " $5
    unit_of[$1, $2] = $7
}
END {
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
function goal_of(workload, metric, n, peer) {
    if ((workload, metric, n, peer) in goal)
        return goal[workload, metric, n, peer]
    return ((workload, metric, "*", peer) in goal) ? goal[workload, metric, "*", peer] : ""
}
function short(value,    size) {
    size = value < 0 ? -value : value
    return sprintf(size >= 100 ? "%.0f" : size >= 10 ? "%.1f" : size >= 0.1 ? "%.2f" : "%.3g", value)
}
function short_size(n) {
    if (n >= 1000000 && n % 1000000 == 0)
        return n / 1000000 "M"
    return n >= 1000 && n % 1000 == 0 ? n / 1000 "k" : n
}

# ---- text --------------------------------------------------------------------------------------

function print_table(    w, m, s, p, wl, ml, sl, pl, key, reference, line, wanted) {
    split(workloads[""], wl, "\n")
    for (w = 1; w in wl; w++) {
        printf "\n%s: %s\n", wl[w], about(wl[w])
        printf "  %-26s %-6s %-22s %10s %-5s %-19s %-24s %s\n", "", "n", "peer", "median", "",
            "min..max", "x the first (min..max)", "goal"
        split(metrics[wl[w]], ml, "\n")
        for (m = 1; m in ml; m++) {
            split(sizes[wl[w], ml[m]], sl, "\n")
            for (s = 1; s in sl; s++) {
                split(peers[wl[w], ml[m], sl[s]], pl, "\n")
                reference = wl[w] SUBSEP ml[m] SUBSEP sl[s] SUBSEP pl[1]
                for (p = 1; p in pl; p++) {
                    key = wl[w] SUBSEP ml[m] SUBSEP sl[s] SUBSEP pl[p]
                    summarise(key)
                    line = sprintf("  %-26s %-6s %-22s %10s %-5s %-19s", p == 1 ? ml[m] : "",
                        p == 1 ? short_size(sl[s]) : "", pl[p], short(median), unit_of[wl[w], ml[m]],
                        short(low) ".." short(high))
                    wanted = goal_of(wl[w], ml[m], sl[s], pl[p])
                    wanted = wanted == "" ? "" : "<= " wanted (median <= wanted ? "  met" : "  MISSED")
                    if (p > 1 && summarise_ratio(key, reference))
                        line = line sprintf(" %-24s", short(median) "  (" short(low) ".." short(high) ")")
                    else
                        line = line sprintf(" %-24s", "")
                    line = line " " wanted
                    sub(/ +$/, "", line)
                    print line
                }
            }
        }
    }
}

# ---- JSON --------------------------------------------------------------------------------------

function quoted(text) {
    gsub(/\\/, "\\\\", text)
    gsub(/"/, "\\\"", text)
    gsub(/[[:cntrl:]]/, " ", text)
    return "\"" text "\""
}
function print_json(    i, w, m, s, p, wl, ml, sl, pl, key, reference, rounds, count, comma, wanted) {
    print "{"
    print "  \"machine\": {"
    for (i = 1; i <= machine_count; i++)
        printf "    %s: %s%s\n", quoted(machine_name[i]), quoted(machine_value[i]),
            (i < machine_count ? "," : "")
    print "  },"
    print "  \"results\": ["
    split(workloads[""], wl, "\n")
    for (w = 1; w in wl; w++) {
        split(metrics[wl[w]], ml, "\n")
        for (m = 1; m in ml; m++) {
            split(sizes[wl[w], ml[m]], sl, "\n")
            for (s = 1; s in sl; s++) {
                split(peers[wl[w], ml[m], sl[s]], pl, "\n")
                reference = wl[w] SUBSEP ml[m] SUBSEP sl[s] SUBSEP pl[1]
                for (p = 1; p in pl; p++) {
                    key = wl[w] SUBSEP ml[m] SUBSEP sl[s] SUBSEP pl[p]
                    printf "%s    {\"workload\": %s, \"metric\": %s, \"n\": %s, \"peer\": %s, \"unit\": %s",
                        comma, quoted(wl[w]), quoted(ml[m]), sl[s], quoted(pl[p]),
                        quoted(unit_of[wl[w], ml[m]])
                    printf ", \"values\": ["
                    count = split(rounds_of[key], rounds, " ")
                    for (i = 1; i <= count; i++)
                        printf "%s%s", (i > 1 ? ", " : ""), figure[key, rounds[i]]
                    summarise(key)
                    printf "], \"median\": %.6g, \"min\": %.6g, \"max\": %.6g", median, low, high
                    if (p > 1 && summarise_ratio(key, reference))
                        printf ", \"ratio_to\": %s, \"ratio_median\": %.4g, \"ratio_min\": %.4g, \"ratio_max\": %.4g",
                            quoted(pl[1]), median, low, high
                    wanted = goal_of(wl[w], ml[m], sl[s], pl[p])
                    if (wanted != "")
                        printf ", \"goal_max\": %s", wanted
                    printf "}"
                    comma = ",\n"
                }
            }
        }
    }
    print "\n  ]"
    print "}"
}

# ---- HTML --------------------------------------------------------------------------------------

function about(workload) {
    if (workload == "alloc")
        return "raw memory. ns for an alloc and a free of 64 bytes: freed in random order, at once (LIFO), a mix of 16..1024 bytes; and bytes used for each byte of payload"
    if (workload == "names")
        return "objects of 64 bytes by name, shuffled; the commit is in insert and destroy"
    if (workload == "commit-atomic")
        return "a commit of n updates that survives the death of the process, NOT durable against power loss"
    if (workload == "commit-durable")
        return "a commit of n updates that is on the disk when it returns"
    if (workload == "load")
        return "a bulk load of n records of 16 + 100 bytes, from creating the store until all is on the disk"
    if (workload == "read")
        return "random reads, one view or transaction around all; the mean over the readers"
    if (workload == "view")
        return "beginning and ending a view or read transaction"
    if (workload == "open")
        return "open, find, close, nobody else there; n is records, or megabytes of file for open.size_mb"
    if (workload == "check")
        return "hf_check_sanity"
    return ""
}
function escaped(text) {
    gsub(/&/, "\\&amp;", text)
    gsub(/</, "\\&lt;", text)
    gsub(/>/, "\\&gt;", text)
    return text
}
function log10(value) {
    return log(value) / log(10)
}
function is_ours(peer) {
    return peer ~ /^holdfast/
}
function print_html(    i, w, m, wl, ml) {
    print "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
    print "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
    print "<title>Holdfast beside its peers</title><style>"
    print ":root{--ink:#1c2126;--soft:#5d6872;--line:#d9dee3;--page:#fff;--c0:#0b62b8;--c1:#d1495b;" \
        "--c2:#2e8b57;--c3:#8a5cc4;--c4:#b8860b;--c5:#0f8b8d;--c6:#7a6a58;--c7:#c2528b;--c8:#4f5d75;--c9:#6b8e23}"
    print "@media(prefers-color-scheme:dark){:root{--ink:#e6eaee;--soft:#9aa5b0;--line:#353d45;" \
        "--page:#15191d;--c0:#5aa9f5;--c1:#f0808f;--c2:#63c48c;--c3:#b796ea;--c4:#e0b84a;--c5:#4cc3c5;" \
        "--c6:#b5a48f;--c7:#e68cba;--c8:#9fb0cc;--c9:#a5c95a}}"
    print "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:76rem;" \
        "margin:2rem auto;padding:0 1rem}h2{margin-top:3rem}p{max-width:46rem}"
    print "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}" \
        "th,td{text-align:left;padding:.15rem .8rem .15rem 0;border-bottom:1px solid var(--line)}" \
        "td.n,th.n{text-align:right}.soft{color:var(--soft)}.missed{color:var(--c1);font-weight:600}" \
        ".plots{display:flex;flex-wrap:wrap;gap:1.5rem}figure{margin:0}figcaption{font-weight:600}" \
        ".wide{overflow-x:auto}"
    print "svg{max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--ink)}" \
        "svg .soft{fill:var(--soft)}svg .grid{stroke:var(--line);stroke-width:1}"
    for (i = 0; i < 10; i++)
        printf "svg .s%d{stroke:var(--c%d);fill:none}svg .f%d{fill:var(--c%d)}", i, i, i, i
    print "</style></head><body>"
    print "<h1>Holdfast beside its peers</h1>"
    print "<p>Medians over rounds in which the peers took turns; whiskers and ranges are the least and the " \
        "largest. Ratios are taken within a round. Lower is better throughout, but for MB/s.</p>"
    print "<table>"
    for (i = 1; i <= machine_count; i++)
        printf "<tr><td class=\"soft\">%s</td><td>%s</td></tr>\n", escaped(machine_name[i]),
            escaped(machine_value[i])
    print "</table>"
    split(workloads[""], wl, "\n")
    for (w = 1; w in wl; w++) {
        printf "<h2>%s</h2><p>%s.</p>\n<div class=\"plots\">\n", escaped(wl[w]), escaped(about(wl[w]))
        split(metrics[wl[w]], ml, "\n")
        for (m = 1; m in ml; m++)
            plot(wl[w], ml[m])
        print "</div>"
        print "<details><summary>The figures</summary><div class=\"wide\">"
        html_table(wl[w])
        print "</div></details>"
    }
    print "</body></html>"
}
function html_table(workload,    m, s, p, ml, sl, pl, key, reference, wanted, ratio) {
    print "<table><tr><th>metric</th><th class=\"n\">n</th><th>peer</th><th class=\"n\">median</th><th></th>" \
        "<th>min..max</th><th>x the first (min..max)</th><th>goal</th></tr>"
    split(metrics[workload], ml, "\n")
    for (m = 1; m in ml; m++) {
        split(sizes[workload, ml[m]], sl, "\n")
        for (s = 1; s in sl; s++) {
            split(peers[workload, ml[m], sl[s]], pl, "\n")
            reference = workload SUBSEP ml[m] SUBSEP sl[s] SUBSEP pl[1]
            for (p = 1; p in pl; p++) {
                key = workload SUBSEP ml[m] SUBSEP sl[s] SUBSEP pl[p]
                summarise(key)
                printf "<tr><td>%s</td><td class=\"n\">%s</td><td>%s</td><td class=\"n\">%s</td><td>%s</td><td>%s..%s</td>",
                    p == 1 ? ml[m] : "", p == 1 ? short_size(sl[s]) : "", pl[p], short(median),
                    unit_of[workload, ml[m]], short(low), short(high)
                wanted = goal_of(workload, ml[m], sl[s], pl[p])
                if (wanted != "")
                    wanted = "&le; " wanted (median <= wanted ? " met" : " <span class=\"missed\">missed</span>")
                ratio = ""
                if (p > 1 && summarise_ratio(key, reference))
                    ratio = short(median) " (" short(low) ".." short(high) ")"
                printf "<td>%s</td><td>%s</td></tr>\n", ratio, wanted
            }
        }
    }
    print "</table>"
}
# Cost against n where a metric was measured at three sizes or more, else a row for each peer.
function plot(workload, metric,    count, list) {
    if (metric ~ /raw_same_bytes|\.file$|commit_share$/)
        return
    count = split(sizes[workload, metric], list, "\n")
    printf "<figure><figcaption>%s <span class=\"soft\">%s</span></figcaption>\n", escaped(metric),
        unit_of[workload, metric]
    if (count >= 3)
        plot_lines(workload, metric, list, count)
    else
        plot_rows(workload, metric, list, count)
    print "</figure>"
}
# Both axes logarithmic. Sets the y range to whole powers of ten around what there is.
function range_of(workload, metric, list, count,    s, p, pl) {
    y_low = 1e300
    y_high = -1e300
    for (s = 1; s <= count; s++) {
        split(peers[workload, metric, list[s]], pl, "\n")
        for (p = 1; p in pl; p++) {
            summarise(workload SUBSEP metric SUBSEP list[s] SUBSEP pl[p])
            if (low > 0 && low < y_low)
                y_low = low
            if (high > y_high)
                y_high = high
        }
    }
    if (y_high <= 0) {
        y_low = 0.1
        y_high = 1
    }
    if (y_low > y_high)
        y_low = y_high
    y_low = floor(log10(y_low))
    y_high = -floor(-log10(y_high))
    if (y_high == y_low)
        y_high++
}
function floor(value,    whole) {
    whole = int(value)
    return whole > value ? whole - 1 : whole
}
function power_text(exponent) {
    return short(exp(exponent * log(10)))
}
function place(value, from, to, low_exponent, high_exponent,    at) {
    at = value > 0 ? log10(value) : low_exponent
    if (at < low_exponent)
        at = low_exponent
    return from + (to - from) * (at - low_exponent) / (high_exponent - low_exponent)
}
function plot_lines(workload, metric, list, count,    left, right, top, bottom, x_low, x_high, s, p, pl,
                    all, seen, names, key, x, y, points, i, ends, label_y, e) {
    left = 56; right = 330; top = 10; bottom = 230
    range_of(workload, metric, list, count)
    x_low = log10(list[1]); x_high = log10(list[1])
    for (s = 1; s <= count; s++) {
        if (log10(list[s]) < x_low) x_low = log10(list[s])
        if (log10(list[s]) > x_high) x_high = log10(list[s])
    }
    printf "<svg viewBox=\"0 0 480 262\" width=\"480\" role=\"img\" aria-label=\"%s %s against n\">\n", workload, metric
    for (e = y_low; e <= y_high; e++) {
        y = place(exp(e * log(10)), bottom, top, y_low, y_high)
        printf "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text class=\"soft\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
            left, right, y, y, left - 6, y + 4, power_text(e)
    }
    for (s = 1; s <= count; s++) {
        x = place(list[s], left + 8, right - 8, x_low, x_high)
        printf "<text class=\"soft\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x, bottom + 16, short_size(list[s])
        split(peers[workload, metric, list[s]], pl, "\n")
        for (p = 1; p in pl; p++)
            if (!(pl[p] in seen)) {
                seen[pl[p]] = 1
                all[++names] = pl[p]
            }
    }
    printf "<text class=\"soft\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">n</text>\n", (left + right) / 2, bottom + 30
    for (i = 1; i <= names; i++) {
        points = ""
        for (s = 1; s <= count; s++) {
            key = workload SUBSEP metric SUBSEP list[s] SUBSEP all[i]
            if (!(key in rounds_of))
                continue
            summarise(key)
            x = place(list[s], left + 8, right - 8, x_low, x_high)
            y = place(median, bottom, top, y_low, y_high)
            points = points sprintf("%.1f,%.1f ", x, y)
            ends[i] = y
            printf "<line class=\"s%d\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/><circle class=\"f%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>%s, n=%s: %s %s (%s..%s)</title></circle>\n",
                colour(all[i]), x, x, place(low, bottom, top, y_low, y_high), place(high, bottom, top, y_low, y_high),
                colour(all[i]), x, y, is_ours(all[i]) ? "4" : "3", all[i], short_size(list[s]), short(median),
                unit_of[workload, metric], short(low), short(high)
        }
        printf "<polyline class=\"s%d\" stroke-width=\"%s\" points=\"%s\"/>\n", colour(all[i]),
            is_ours(all[i]) ? "2.5" : "1.2", points
    }
    labels(all, ends, names, right)
    print "</svg>"
}
function colour(peer) {
    return colour_of[peer] % 10
}
# Names at the lines' ends, from the top down, pushed apart.
function labels(all, ends, names, right,    i, j, kept, order, at, last) {
    for (i = 1; i <= names; i++)
        order[i] = i
    for (i = 2; i <= names; i++) {
        kept = order[i]
        for (j = i - 1; j >= 1 && ends[order[j]] > ends[kept]; j--)
            order[j + 1] = order[j]
        order[j + 1] = kept
    }
    last = -20
    for (i = 1; i <= names; i++) {
        at = ends[order[i]]
        if (at < last + 13)
            at = last + 13
        last = at
        printf "<circle class=\"f%d\" cx=\"%d\" cy=\"%.1f\" r=\"3\"/><text x=\"%d\" y=\"%.1f\"%s>%s</text>\n",
            colour(all[order[i]]), right + 8, at, right + 15, at + 4,
            is_ours(all[order[i]]) ? " font-weight=\"600\"" : "", escaped(all[order[i]])
    }
}
# A row for each peer and size: a dot at the median and a line from the least to the largest.
function plot_rows(workload, metric, list, count,    left, right, s, p, pl, rows, y, x, key, e, height) {
    left = 170; right = 400
    range_of(workload, metric, list, count)
    for (s = 1; s <= count; s++)
        rows += split(peers[workload, metric, list[s]], pl, "\n")
    height = rows * 18 + 30
    printf "<svg viewBox=\"0 0 480 %d\" width=\"480\" role=\"img\" aria-label=\"%s %s\">\n", height, workload, metric
    for (e = y_low; e <= y_high; e++) {
        x = place(exp(e * log(10)), left, right, y_low, y_high)
        printf "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"4\" y2=\"%d\"/><text class=\"soft\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
            x, x, height - 24, x, height - 10, power_text(e)
    }
    y = 14
    for (s = 1; s <= count; s++) {
        split(peers[workload, metric, list[s]], pl, "\n")
        for (p = 1; p in pl; p++) {
            key = workload SUBSEP metric SUBSEP list[s] SUBSEP pl[p]
            summarise(key)
            printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\"%s>%s, %s</text>", left - 8, y + 4,
                is_ours(pl[p]) ? " font-weight=\"600\"" : "", escaped(pl[p]), short_size(list[s])
            x = place(median, left, right, y_low, y_high)
            printf "<line class=\"s%d\" stroke-width=\"2\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", colour(pl[p]),
                place(low, left, right, y_low, y_high), place(high, left, right, y_low, y_high), y, y
            printf "<circle class=\"f%d\" cx=\"%.1f\" cy=\"%d\" r=\"4\"/><text x=\"%d\" y=\"%d\">%s %s</text>\n",
                colour(pl[p]), x, y, right + 10, y + 4, short(median), unit_of[workload, metric]
            y += 18
        }
    }
    print "</svg>"
}
