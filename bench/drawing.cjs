// Draws figures as SVG pictures: lines over time, quantiles, stacked and grouped bars. Used by bench/report and by the
// report of tests/hostile. Node only, no packages.
'use strict';

const colours = ['#2a6f97', '#e07a1f', '#5a9a3c', '#a23b72', '#c9a227', '#6c5b7b', '#3d3d3d', '#8d99ae'];
const escape = (text) => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
function number(value) {
    const size = Math.abs(value);
    if (size >= 1000) return Math.round(value).toString().replace(/\B(?=(\d{3})+(?!\d))/g, ',');
    if (size >= 100) return value.toFixed(0);
    if (size >= 10) return value.toFixed(1);
    return value.toFixed(size >= 1 || size === 0 ? 2 : 3);
}
const words = (name) => name.replace(/_/g, ' ');

// --- SVG ---
const width = 720;
function svg(height, title, body) {
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" font-family="system-ui, sans-serif" font-size="12">` +
        `<title>${escape(title)}</title><rect width="${width}" height="${height}" fill="#ffffff"/>` +
        `<text x="12" y="22" font-size="15" font-weight="600" fill="#222">${escape(title)}</text>${body}</svg>\n`;
}
function label(x, y, text, anchor = 'start', colour = '#444') {
    return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" fill="${colour}">${escape(text)}</text>`;
}
function legend(names, y) {
    let x = 60, out = '';
    names.forEach((name, i) => {
        out += `<rect x="${x}" y="${y - 9}" width="10" height="10" fill="${colours[i % colours.length]}"/>` + label(x + 14, y, name);
        x += 28 + name.length * 7;
    });
    return out;
}
function ticks(most) {
    const raw = most / 5, base = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((k) => k * base).find((k) => k >= raw);
    const out = [];
    for (let value = 0; value <= most * 1.0001; value += step) out.push(value);
    return out;
}
function decades(least, most) {
    const out = [];
    for (let e = Math.floor(Math.log10(least)); 10 ** e <= most * 1.0001; ++e) out.push(10 ** e);
    return out;
}

/// series: {name: [[x, y], ...]}. x in seconds, y from 0.
function lines(title, series, xUnit, yUnit) {
    const all = Object.values(series).flat();
    if (all.length === 0) return null;
    const height = 320, left = 80, right = width - 20, top = 56, bottom = height - 40;
    const xMost = Math.max(...all.map((p) => p[0])) || 1, yMost = Math.max(...all.map((p) => p[1])) * 1.05 || 1;
    const x = (v) => left + v / xMost * (right - left), y = (v) => bottom - v / yMost * (bottom - top);
    let out = legend(Object.keys(series), 42);
    for (const value of ticks(yMost)) out += `<line x1="${left}" x2="${right}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/>` + label(left - 6, y(value) + 4, number(value), 'end');
    for (const value of ticks(xMost)) out += label(x(value), bottom + 16, number(value), 'middle');
    out += label(right, bottom + 32, xUnit, 'end') + label(12, top - 2, yUnit);
    Object.values(series).forEach((points, i) => {
        out += `<polyline fill="none" stroke="${colours[i % colours.length]}" stroke-width="2" points="${points.map((p) => x(p[0]).toFixed(1) + ',' + y(p[1]).toFixed(1)).join(' ')}"/>`;
    });
    return svg(height, title, out);
}

/// series: {name: [[share, value], ...]}; shares are spread so that the tail can be seen.
function quantiles(title, series, unit) {
    const all = Object.values(series).flat().filter((p) => p[1] > 0);
    if (all.length === 0) return null;
    const height = 340, left = 70, right = width - 20, top = 56, bottom = height - 40;
    const spread = (share) => -Math.log10(Math.max(1 - share, 1e-4)) / 4;
    const least = 10 ** Math.floor(Math.log10(Math.min(...all.map((p) => p[1]))));
    const most = 10 ** Math.ceil(Math.log10(Math.max(...all.map((p) => p[1]))));
    const x = (share) => left + spread(share) * (right - left);
    const y = (v) => bottom - Math.log10(v / least) / Math.log10(most / least || 10) * (bottom - top);
    let out = legend(Object.keys(series), 42);
    for (const value of decades(least, most)) out += `<line x1="${left}" x2="${right}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/>` + label(left - 6, y(value) + 4, number(value), 'end');
    for (const [share, text] of [[0, 'least'], [0.5, 'p50'], [0.9, 'p90'], [0.99, 'p99'], [0.999, 'p99.9'], [1, 'most']]) {
        out += `<line x1="${x(share)}" x2="${x(share)}" y1="${top}" y2="${bottom}" stroke="#eee"/>` + label(x(share), bottom + 16, text, 'middle');
    }
    out += label(12, top - 2, unit);
    Object.values(series).forEach((points, i) => {
        const drawn = points.filter((p) => p[1] > 0);
        out += `<polyline fill="none" stroke="${colours[i % colours.length]}" stroke-width="2" points="${drawn.map((p) => x(p[0]).toFixed(1) + ',' + y(p[1]).toFixed(1)).join(' ')}"/>`;
    });
    return svg(height, title, out);
}

/// rows: {name: {part: value}}, each a bar made of its parts.
function stacked(title, rows, unit) {
    const names = Object.keys(rows), parts = [...new Set(names.flatMap((n) => Object.keys(rows[n])))];
    if (names.length === 0) return null;
    const left = 110, right = width - 70, top = 78, step = 44, height = top + names.length * step + 40;
    const sum = (n) => Object.values(rows[n]).reduce((a, b) => a + b, 0);
    const most = Math.max(...names.map(sum)) * 1.02, x = (v) => left + v / most * (right - left);
    let out = legend(parts.slice(0, 5), 42) + (parts.length > 5 ? legendFrom(parts, 5, 60) : '');
    for (const value of ticks(most)) out += `<line x1="${x(value)}" x2="${x(value)}" y1="${top}" y2="${height - 34}" stroke="#ddd"/>` + label(x(value), height - 18, number(value), 'middle');
    names.forEach((name, row) => {
        let from = 0;
        const y = top + row * step + 6;
        parts.forEach((part, i) => {
            const value = rows[name][part] || 0;
            out += `<rect x="${x(from).toFixed(1)}" y="${y}" width="${(x(from + value) - x(from)).toFixed(1)}" height="${step - 14}" fill="${colours[i % colours.length]}"><title>${escape(part)}: ${number(value)} ${unit}</title></rect>`;
            from += value;
        });
        out += label(left - 8, y + 20, name, 'end') + label(x(from) + 6, y + 20, number(from));
    });
    return svg(height, title, out + label(right, height - 4, unit, 'end'));
}
function legendFrom(names, first, y) {
    let x = 60, out = '';
    for (let i = first; i < names.length; ++i) {
        out += `<rect x="${x}" y="${y - 9}" width="10" height="10" fill="${colours[i % colours.length]}"/>` + label(x + 14, y, names[i]);
        x += 28 + names[i].length * 7;
    }
    return out;
}

/// rows: {name: {series: value}}, bars side by side; logarithmic where values differ a lot.
function grouped(title, rows, unit) {
    const names = Object.keys(rows), series = [...new Set(names.flatMap((n) => Object.keys(rows[n])))];
    const values = names.flatMap((n) => Object.values(rows[n])).filter((v) => v > 0);
    if (values.length === 0) return null;
    const bar = 14, step = series.length * bar + 12, left = 150, right = width - 70, top = 56, height = top + names.length * step + 36;
    const log = Math.max(...values) / Math.min(...values) > 50;
    const least = log ? 10 ** Math.floor(Math.log10(Math.min(...values))) : 0, most = Math.max(...values);
    const x = (v) => left + (log ? Math.log10(Math.max(v, least) / least) / Math.log10(most / least) : v / most) * (right - left);
    let out = series.length > 1 ? legend(series, 42) : '';
    for (const value of log ? decades(least, most) : ticks(most)) out += `<line x1="${x(value)}" x2="${x(value)}" y1="${top}" y2="${height - 30}" stroke="#ddd"/>` + label(x(value), height - 16, number(value), 'middle');
    names.forEach((name, row) => {
        const y = top + row * step;
        out += label(left - 8, y + step / 2, name, 'end');
        series.forEach((one, i) => {
            const value = rows[name][one];
            if (value === undefined) return;
            out += `<rect x="${left}" y="${y + i * bar}" width="${Math.max(1, x(value) - left).toFixed(1)}" height="${bar - 2}" fill="${colours[i % colours.length]}"/>` + label(x(value) + 5, y + i * bar + 10, number(value));
        });
    });
    return svg(height, title, out + label(right, height - 2, unit + (log ? ', logarithmic' : ''), 'end'));
}

module.exports = { escape, grouped, lines, number, quantiles, stacked, words };
