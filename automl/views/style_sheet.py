"""The style sheet of our pages, light and dark. It also inks Plotly's drawings, whose own colours hold on both."""

STYLE_SHEET = """
:root { color-scheme: light dark; --paper: #fbfbfa; --panel: #ffffff; --ink: #1b2430; --soft: #66717f;
  --rule: #e4e7eb; --accent: #4c86e0; --good: #0d8f80; --bad: #c23b35; }
@media (prefers-color-scheme: dark) { :root { --paper: #12151a; --panel: #191d24; --ink: #e6eaf0; --soft: #97a2b2;
  --rule: #2b313b; --accent: #7aa7f0; --good: #3cc4b2; --bad: #ef7d77; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 Inter, "Segoe UI Variable", "Segoe UI",
  system-ui, -apple-system, Roboto, "Helvetica Neue", Arial, sans-serif; -webkit-font-smoothing: antialiased; }
main { max-width: 1320px; margin: 0 auto; padding: 28px 28px 56px; }
header.top { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 18px; margin-bottom: 18px; }
h1 { font-size: 26px; font-weight: 650; letter-spacing: -.015em; margin: 0; }
h2 { font-size: 16px; font-weight: 650; margin: 34px 0 10px; }
p.facts, p.note { color: var(--soft); margin: 0 0 8px; font-size: 14px; }
a { color: var(--accent); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: 12px; margin: 0 0 14px; }
.tile { background: var(--panel); border: 1px solid var(--rule); border-radius: 10px; padding: 13px 16px 12px; }
.tile .what { color: var(--soft); font-size: 13px; }
.tile .big { font-size: 25px; font-weight: 650; letter-spacing: -.02em; font-variant-numeric: tabular-nums;
  line-height: 1.3; }
.tile .more { color: var(--soft); font-size: 13px; font-variant-numeric: tabular-nums; }
.panel { background: var(--panel); border: 1px solid var(--rule); border-radius: 10px; padding: 6px 4px;
  overflow-x: auto; overflow-y: hidden; }
.panel > * { min-width: 760px; }
.scroll { overflow-x: auto; background: var(--panel); border: 1px solid var(--rule); border-radius: 10px; }
table.front { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
table.front th { text-align: left; font-weight: 500; color: var(--soft); font-size: 13px; padding: 10px 14px;
  border-bottom: 1px solid var(--rule); white-space: nowrap; }
table.front td { padding: 8px 14px; border-bottom: 1px solid var(--rule); vertical-align: middle; }
table.front tr:last-child td { border-bottom: 0; }
table.front .number { text-align: right; white-space: nowrap; }
table.front .pays { color: var(--good); white-space: nowrap; }
table.front .small { color: var(--soft); font-size: 13px; line-height: 1.35; }
table.front svg, table.front img { display: block; }
header.top .chooser { min-width: 260px; font-weight: 650; font-size: 17px; }
header.top .aside { margin-left: auto; font-size: 14px; }
.live { display: inline-block; width: 9px; height: 9px; border-radius: 50%; background: var(--good); margin-right: 7px;
  animation: pulse 2s ease-in-out infinite; }
@keyframes pulse { 50% { opacity: .35; } }
:root { --Dash-Fill-Inverse-Strong: var(--panel); --Dash-Text-Primary: var(--ink); --Dash-Text-Strong: var(--ink);
  --Dash-Text-Weak: var(--soft); --Dash-Stroke-Strong: var(--rule); --Dash-Stroke-Weak: var(--rule);
  --Dash-Fill-Interactive-Strong: var(--accent); --Dash-Fill-Interactive-Weak: var(--rule); }
p.below { margin-top: 10px; }
.key { display: inline-flex; align-items: center; gap: 6px; margin-right: 14px; }
.swatch { width: 11px; height: 11px; border-radius: 3px; display: inline-block; }
h3 { font-size: 14px; font-weight: 650; margin: 22px 0 8px; }
ul.plain { margin: 10px 0 0; padding-left: 20px; color: var(--soft); font-size: 14px; }
.panel + .scroll, .scroll + .panel, .panel + .panel { margin-top: 14px; }
p.lead.below { margin-top: 14px; }
p { overflow-wrap: anywhere; }
p.lead { max-width: 76ch; margin: 0 0 12px; }
code { font: 13px/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--rule);
  border-radius: 5px; padding: 2px 6px; overflow-wrap: anywhere; }
.panel.narrow > * { min-width: 0; }
.panel img.drawing { display: block; max-width: 100%; min-width: 0; height: auto; margin: 0 auto; }
table.stack td:first-child { min-width: 190px; }
table.stack .how { display: block; color: var(--soft); font-size: 12px; line-height: 1.35; overflow-wrap: anywhere; }
table.front .better { color: var(--good); white-space: nowrap; }
table.front .worse { color: var(--bad); white-space: nowrap; }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(148px, 1fr)); gap: 12px; }
.samples.texts { grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); }
.sample { background: var(--panel); border: 1px solid var(--rule); border-radius: 10px; padding: 12px; font-size: 13px;
  line-height: 1.45; overflow-wrap: anywhere; }
.sample img { display: block; width: 100%; max-width: 112px; margin: 0 auto 8px; image-rendering: pixelated;
  border-radius: 4px; }
.sample .said { color: var(--soft); }
.sample .right { color: var(--good); }
.sample .wrong { color: var(--bad); }
.sample p { margin: 0 0 8px; }
@media (max-width: 640px) {
  main { padding: 18px 14px 40px; }
  h1 { font-size: 22px; }
  table.front td.small { min-width: 260px; }
  .panel img.drawing { max-width: none; width: 820px; }
  table.stack, table.stack tbody, table.stack tr, table.stack td { display: block; width: auto; }
  table.stack tr:first-child { display: none; }
  table.stack tr { border-bottom: 1px solid var(--rule); padding: 8px 0; }
  table.stack td, table.stack td.number { border: 0; padding: 2px 14px; text-align: left; white-space: normal; }
  table.stack td[data-head]::before { content: attr(data-head) ": "; color: var(--soft); }
}
.js-plotly-plot .main-svg .gtitle, .js-plotly-plot .main-svg .annotation-text,
.js-plotly-plot .main-svg .legendtext { fill: var(--ink) !important; }
.js-plotly-plot .main-svg .gtitle-subtitle, .js-plotly-plot .main-svg .xtick text,
.js-plotly-plot .main-svg .ytick text, .js-plotly-plot .main-svg .xtitle, .js-plotly-plot .main-svg .ytitle,
.js-plotly-plot .main-svg .x2tick text, .js-plotly-plot .main-svg .x2title,
.js-plotly-plot .main-svg .legendtitletext { fill: var(--soft) !important; }
.js-plotly-plot .modebar, .js-plotly-plot .modebar-group { background: transparent !important; }
.js-plotly-plot .modebar-btn path { fill: var(--soft) !important; }
"""
