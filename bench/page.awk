# SPDX-License-Identifier: MIT
#
# page.awk - one HTML page with plots, from what report.awk has read
#
# Peers keep their colour and mark through the page. Colours are those of Okabe and Ito, told apart by
# the colour-blind too; what is Holdfast's is blue and filled, its variants differ in mark and dash. All
# axes are logarithmic and say so. A goal is a short line across its place.

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

# ---- marks -------------------------------------------------------------------------------------

function colour(peer) {
    if (is_ours(peer))
        return "ours"
    if (peer ~ /^lmdb/)
        return "vermilion"
    if (peer ~ /^sqlite/)
        return "green"
    if (peer ~ /^(boost|jemalloc)/)
        return peer ~ /^boost/ ? "purple" : "orange"
    if (peer ~ /^(gdbm|mimalloc)/)
        return peer ~ /^gdbm/ ? "orange" : "green"
    if (peer ~ /^libpmemobj/)
        return "sky"
    return "grey" # what stores nothing: the limit of the disk, plain memory
}
# Holdfast's variants in the order in which they are met: 0 to 4, and again.
function variant(peer) {
    if (!(peer in variant_of))
        variant_of[peer] = variants++ % 5
    return variant_of[peer]
}
function dash(peer) {
    if (is_ours(peer))
        return variant(peer) == 0 ? "" : variant(peer) == 1 ? " stroke-dasharray=\"7 3\"" : \
            variant(peer) == 2 ? " stroke-dasharray=\"2 3\"" : variant(peer) == 3 ? \
            " stroke-dasharray=\"9 3 2 3\"" : " stroke-dasharray=\"1 2\""
    return peer ~ /^limit/ ? " stroke-dasharray=\"1 4\"" : ""
}
function mark(peer, x, y, text,    shape, what) {
    shape = is_ours(peer) ? variant(peer) : 4 # a small circle, as the fifth of ours is, but hollow
    what = "class=\"" (is_ours(peer) ? "fill " : "hollow ") colour(peer) "\""
    if (shape == 1)
        printf "<rect %s x=\"%.1f\" y=\"%.1f\" width=\"8\" height=\"8\">", what, x - 4, y - 4
    else if (shape == 2)
        printf "<path %s d=\"M%.1f %.1fl5 9h-10z\">", what, x, y - 5
    else if (shape == 3)
        printf "<path %s d=\"M%.1f %.1fl5 5l-5 5l-5 -5z\">", what, x, y - 5
    else
        printf "<circle %s cx=\"%.1f\" cy=\"%.1f\" r=\"%s\">", what, x, y, shape == 0 ? "4.2" : "3.4"
    printf "<title>%s</title></%s>\n", escaped(text), shape == 1 ? "rect" : shape == 2 || shape == 3 ? "path" : "circle"
}

# ---- the page ----------------------------------------------------------------------------------

function print_html(    i, w, m, wl, ml) {
    style()
    print "<h1>Holdfast beside its peers</h1>"
    print "<p>Medians over rounds in which the peers took turns; thin bars and ranges reach from the least to " \
        "the largest. Ratios are taken within a round, so that what else the machine did hits both. Lower is " \
        "better where nothing else is said. Holdfast is blue and filled, the others are hollow; a red " \
        "<span class=\"missed\">&#9474;</span> is a goal of this project. Every axis is logarithmic.</p>"
    print "<table>"
    for (i = 1; i <= machine_count; i++)
        printf "<tr><td class=\"soft\">%s</td><td>%s</td></tr>\n", escaped(machine_name[i]),
            escaped(machine_value[i])
    print "</table>"
    html_goals()
    split(workloads[""], wl, "\n")
    for (w = 1; w in wl; w++) {
        printf "<h2 id=\"%s\">%s</h2><p>%s.</p>\n<div class=\"plots\">\n", wl[w], wl[w], escaped(about(wl[w]))
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
function style() {
    print "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
    print "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
    print "<title>Holdfast beside its peers</title><style>"
    print ":root{--ink:#1c2126;--soft:#5d6872;--line:#d9dee3;--page:#fff;--ours:#0072b2;--vermilion:#d55e00;" \
        "--green:#009e73;--purple:#b0568b;--orange:#c98a00;--sky:#3b9bd6;--grey:#5d6872;--goal:#c1121f}"
    print "@media(prefers-color-scheme:dark){:root{--ink:#e6eaee;--soft:#9aa5b0;--line:#353d45;--page:#15191d;" \
        "--ours:#4aa8e8;--vermilion:#ff8c42;--green:#2fc79b;--purple:#e09ac4;--orange:#f0b73a;--sky:#8fd0f5;" \
        "--grey:#9aa5b0;--goal:#ff6b6b}}"
    print "body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:78rem;" \
        "margin:2rem auto;padding:0 1rem}h2{margin-top:3rem}p{max-width:46rem}"
    print "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}" \
        "th,td{text-align:left;padding:.15rem .7rem .15rem 0;border-bottom:1px solid var(--line)}" \
        "td.n,th.n{text-align:right}.soft{color:var(--soft)}.missed{color:var(--goal);font-weight:600}" \
        ".plots{display:flex;flex-wrap:wrap;gap:1.8rem}figure{margin:0}figcaption{font-weight:600}" \
        ".wide{overflow-x:auto}.wide td{white-space:nowrap}details{margin-top:1rem}"
    print "svg{max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:var(--ink)}" \
        "svg .soft{fill:var(--soft)}svg .grid{stroke:var(--line);stroke-width:1}" \
        "svg .goal{stroke:var(--goal);stroke-width:2.5}svg polyline{fill:none}" \
        "svg .hollow{fill:var(--page);stroke-width:1.6}"
    split("ours vermilion green purple orange sky grey", style_names, " ")
    for (style_at = 1; style_at in style_names; style_at++)
        printf "svg .%s{stroke:var(--%s)}svg .fill.%s{fill:var(--%s)}", style_names[style_at],
            style_names[style_at], style_names[style_at], style_names[style_at]
    print "</style></head><body>"
}

# ---- tables ------------------------------------------------------------------------------------

function verdict() {
    return goal_met ? "met" : "<span class=\"missed\">missed</span>"
}
function html_goals(    i, any) {
    for (i = 1; i <= listed_count; i++) {
        at_figure(i)
        if (!judge(workload, metric, n, peer))
            continue
        if (!any++)
            print "<h2>Goals</h2><div class=\"wide\"><table><tr><th></th><th>what</th><th class=\"n\">n</th><th>variant</th>" \
                "<th class=\"n\">median</th><th></th><th></th><th>goal</th><th>min&ndash;max</th></tr>"
        summarise(key)
        printf "<tr><td><a href=\"#%s\">%s</a></td><td>%s</td><td class=\"n\">%s</td><td>%s</td><td class=\"n\">%s</td>" \
            "<td>%s</td><td>%s</td><td>%s</td><td>%s&ndash;%s</td></tr>\n", workload, workload, escaped(title_of(metric)),
            short_size(n), peer, short(median), unit, verdict(), escaped(goal_text), short(low), short(high)
    }
    if (any)
        print "</table></div>"
}
function html_table(of,    i, wanted, ratio) {
    print "<table><tr><th>metric</th><th class=\"n\">n</th><th>peer</th><th class=\"n\">median</th><th></th>" \
        "<th>min&ndash;max</th><th>times the first of the group: median (min&ndash;max)</th><th>goal</th></tr>"
    for (i = 1; i <= listed_count; i++) {
        at_figure(i)
        if (workload != of)
            continue
        summarise(key)
        printf "<tr><td>%s</td><td class=\"n\">%s</td><td>%s</td><td class=\"n\">%s</td><td>%s</td><td>%s&ndash;%s</td>",
            is_first ? metric : "", is_first ? short_size(n) : "", peer, short(median), unit, short(low), short(high)
        wanted = ratio = ""
        if (judge(workload, metric, n, peer))
            wanted = escaped(goal_text) " " verdict()
        if (!is_first && summarise_ratio(key, reference))
            ratio = short(median) " (" short(low) "&ndash;" short(high) ")"
        printf "<td>%s</td><td>%s</td></tr>\n", ratio, wanted
    }
    print "</table>"
}

# ---- plots -------------------------------------------------------------------------------------

# Cost against n where a metric was measured at three sizes or more, else a row for each peer.
function plot(workload, metric,    count, list) {
    if (metric ~ /raw_same_bytes|\.bytes$|commit_share$/)
        return
    count = split(sizes[workload, metric], list, "\n")
    printf "<figure><figcaption>%s</figcaption>\n", escaped(title_of(metric))
    if (count >= 3)
        plot_lines(workload, metric, list, count)
    else
        plot_rows(workload, metric, list, count)
    print "</figure>"
}
function floor(value,    whole) {
    whole = int(value)
    return whole > value ? whole - 1 : whole
}
# The next of 1, 2, 5, 10 ... at or below (up = 0) or at or above (up = 1) a value, as its logarithm.
function round_to(value, up,    e, f) {
    e = floor(log10(value) + 1e-9)
    f = value / exp(e * log(10))
    if (up)
        return e + log10(f <= 1.0001 ? 1 : f <= 2.0001 ? 2 : f <= 5.0001 ? 5 : 10)
    return e + log10(f >= 4.9999 ? 5 : f >= 1.9999 ? 2 : 1)
}
# Sets y_low and y_high, logarithms, to what holds all figures of a metric and its goals.
function range_of(workload, metric, list, count,    s, p, pl, least, most) {
    least = 1e300
    most = -1e300
    for (s = 1; s <= count; s++) {
        split(peers[workload, metric, list[s]], pl, "\n")
        for (p = 1; p in pl; p++) {
            if (judge(workload, metric, list[s], pl[p])) {
                if (goal_max > 0 && goal_max < least) least = goal_max
                if (goal_max > most) most = goal_max
            }
            summarise(workload SUBSEP metric SUBSEP list[s] SUBSEP pl[p])
            # One that is out of all proportion downwards (or below 0) is drawn at the edge.
            if (low > 0 && low < least) least = low
            if (high > most) most = high
        }
    }
    if (most <= 0) {
        least = 0.1
        most = 1
    }
    if (least > most)
        least = most
    y_low = round_to(least, 0)
    y_high = round_to(most, 1)
    if (y_high - y_low < 0.25)
        y_high = y_low + log10(2)
}
# A tick at each power of ten, or at 1, 2, 5 where few of these are in the range. Sets tick[], a logarithm
# each, and returns how many.
function ticks(low_exponent, high_exponent,    e, f, count, fine, skip) {
    fine = high_exponent - low_exponent < 2
    skip = int((high_exponent - low_exponent) / 5) + 1
    for (e = floor(low_exponent); e <= high_exponent + 0.001; e++)
        for (f = 1; f <= 5; f = f == 1 ? 2 : f == 2 ? 5 : 9) {
            if (f > 1 && !fine)
                continue
            if (f == 1 && !fine && (e - floor(low_exponent)) % skip)
                continue
            if (e + log10(f) >= low_exponent - 0.001 && e + log10(f) <= high_exponent + 0.001)
                tick[++count] = e + log10(f)
        }
    return count
}
function tick_text(exponent,    value) {
    value = exp(exponent * log(10))
    if (value >= 999999)
        return sprintf("%.4gM", value / 1e6)
    return value >= 999 ? sprintf("%.4gk", value / 1e3) : sprintf("%.3g", value)
}
function place(value, from, to, low_exponent, high_exponent,    at) {
    at = value > 0 ? log10(value) : low_exponent
    if (at < low_exponent)
        at = low_exponent
    return from + (to - from) * (at - low_exponent) / (high_exponent - low_exponent)
}
function told(peer, n, unit) {
    return sprintf("%s, n = %s: %s %s (%s..%s)", peer, short_size(n), short(median), unit, short(low), short(high))
}
function plot_lines(workload, metric, list, count,    left, right, top, bottom, x_low, x_high, s, p, pl,
                    all, seen, names, key, x, y, points, i, ends, count_ticks, unit) {
    left = 52; right = 352; top = 10; bottom = 230
    unit = unit_of[workload, metric]
    range_of(workload, metric, list, count)
    x_low = log10(list[1]); x_high = log10(list[1])
    for (s = 1; s <= count; s++) {
        if (log10(list[s]) < x_low) x_low = log10(list[s])
        if (log10(list[s]) > x_high) x_high = log10(list[s])
    }
    printf "<svg viewBox=\"0 0 520 268\" width=\"520\" role=\"img\" aria-label=\"%s, %s against %s\">\n",
        escaped(title_of(metric)), unit, counted(workload, metric)
    count_ticks = ticks(y_low, y_high)
    for (i = 1; i <= count_ticks; i++) {
        y = bottom + (top - bottom) * (tick[i] - y_low) / (y_high - y_low)
        printf "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text class=\"soft\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
            left, right, y, y, left - 6, y + 4, tick_text(tick[i])
    }
    printf "<text class=\"soft\" transform=\"translate(11 %d) rotate(-90)\" text-anchor=\"middle\">%s (log scale)</text>\n",
        (top + bottom) / 2, unit == "x" ? "times" : unit
    for (s = 1; s <= count; s++) {
        x = place(list[s], left + 10, right - 10, x_low, x_high)
        printf "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/><text class=\"soft\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
            x, x, bottom, bottom + 4, x, bottom + 16, short_size(list[s])
        split(peers[workload, metric, list[s]], pl, "\n")
        for (p = 1; p in pl; p++) {
            if (!(pl[p] in seen)) {
                seen[pl[p]] = 1
                all[++names] = pl[p]
            }
            if (judge(workload, metric, list[s], pl[p])) {
                y = place(goal_max, bottom, top, y_low, y_high)
                printf "<line class=\"goal\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"><title>goal: %s</title></line>\n",
                    x - 10, x + 10, y, y, escaped(pl[p] " " goal_text)
            }
        }
    }
    printf "<text class=\"soft\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s (log scale)</text>\n",
        (left + right) / 2, bottom + 33, counted(workload, metric)
    for (i = names; i >= 1; i--) {
        points = ""
        for (s = 1; s <= count; s++) {
            key = workload SUBSEP metric SUBSEP list[s] SUBSEP all[i]
            if (!(key in rounds_of))
                continue
            summarise(key)
            x = place(list[s], left + 10, right - 10, x_low, x_high)
            ends[i] = place(median, bottom, top, y_low, y_high)
            points = points sprintf("%.1f,%.1f ", x, ends[i])
            printf "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", colour(all[i]), x, x,
                place(low, bottom, top, y_low, y_high), place(high, bottom, top, y_low, y_high)
        }
        printf "<polyline class=\"%s\" stroke-width=\"%s\"%s points=\"%s\"/>\n", colour(all[i]),
            is_ours(all[i]) ? "2.2" : "1.3", dash(all[i]), points
        for (s = 1; s <= count; s++) {
            key = workload SUBSEP metric SUBSEP list[s] SUBSEP all[i]
            if (!(key in rounds_of))
                continue
            summarise(key)
            mark(all[i], place(list[s], left + 10, right - 10, x_low, x_high), place(median, bottom, top, y_low, y_high),
                told(all[i], list[s], unit))
        }
    }
    labels(all, ends, names, right, bottom)
    print "</svg>"
}
# Names beside the lines' ends, from the top down, pushed apart, and up again from the bottom.
function labels(all, ends, names, right, bottom,    i, j, kept, order, at) {
    for (i = 1; i <= names; i++)
        order[i] = i
    for (i = 2; i <= names; i++) {
        kept = order[i]
        for (j = i - 1; j >= 1 && ends[order[j]] > ends[kept]; j--)
            order[j + 1] = order[j]
        order[j + 1] = kept
    }
    for (i = 1; i <= names; i++)
        at[i] = i > 1 && ends[order[i]] < at[i - 1] + 14 ? at[i - 1] + 14 : ends[order[i]]
    for (i = names; i >= 1; i--) {
        if (i == names && at[i] > bottom + 20)
            at[i] = bottom + 20
        if (i < names && at[i] > at[i + 1] - 14)
            at[i] = at[i + 1] - 14
    }
    for (i = 1; i <= names; i++) {
        printf "<line class=\"grid\" x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\"/>", right + 1, ends[order[i]], right + 12, at[i]
        mark(all[order[i]], right + 19, at[i], all[order[i]])
        printf "<text x=\"%d\" y=\"%.1f\"%s>%s</text>\n", right + 28, at[i] + 4,
            is_ours(all[order[i]]) ? " font-weight=\"600\"" : "", escaped(all[order[i]])
    }
}
# A row for each peer and size: a mark at the median and a bar from the least to the largest.
function plot_rows(workload, metric, list, count,    left, right, s, p, pl, rows, x, y, key, height, i, count_ticks, unit) {
    left = 160; right = 430
    unit = unit_of[workload, metric]
    range_of(workload, metric, list, count)
    for (s = 1; s <= count; s++)
        rows += split(peers[workload, metric, list[s]], pl, "\n") + (count > 1)
    height = rows * 17 + 44
    printf "<svg viewBox=\"0 0 520 %d\" width=\"520\" role=\"img\" aria-label=\"%s, %s\">\n", height, escaped(title_of(metric)), unit
    count_ticks = ticks(y_low, y_high)
    for (i = 1; i <= count_ticks; i++) {
        x = left + (right - left) * (tick[i] - y_low) / (y_high - y_low)
        printf "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"4\" y2=\"%d\"/><text class=\"soft\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
            x, x, height - 36, x, height - 22, tick_text(tick[i])
    }
    printf "<text class=\"soft\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s (log scale)%s</text>\n", (left + right) / 2,
        height - 6, (unit == "x" ? "times" : unit),
        (count > 1 || list[1] == 1 ? "" : ", " short_size(list[1]) " " counted(workload, metric))
    y = 12
    for (s = 1; s <= count; s++) {
        if (count > 1) {
            printf "<text class=\"soft\" x=\"%d\" y=\"%d\" text-anchor=\"end\">%s %s</text>", left - 8, y + 4,
                short_size(list[s]), counted(workload, metric)
            y += 17
        }
        split(peers[workload, metric, list[s]], pl, "\n")
        for (p = 1; p in pl; p++) {
            key = workload SUBSEP metric SUBSEP list[s] SUBSEP pl[p]
            if (judge(workload, metric, list[s], pl[p])) {
                x = place(goal_max, left, right, y_low, y_high)
                printf "<line class=\"goal\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"><title>goal: %s</title></line>",
                    x, x, y - 8, y + 8, escaped(goal_text)
            }
            summarise(key)
            printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\"%s>%s</text>", left - 8, y + 4,
                is_ours(pl[p]) ? " font-weight=\"600\"" : "", escaped(pl[p])
            printf "<line class=\"%s\" stroke-width=\"2\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", colour(pl[p]),
                place(low, left, right, y_low, y_high), place(high, left, right, y_low, y_high), y, y
            mark(pl[p], place(median, left, right, y_low, y_high), y, told(pl[p], list[s], unit))
            printf "<text x=\"%d\" y=\"%d\">%s %s</text>\n", right + 12, y + 4, short(median), unit == "x" ? "" : unit
            y += 17
        }
    }
    print "</svg>"
}
