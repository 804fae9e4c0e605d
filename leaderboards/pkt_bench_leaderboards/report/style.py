"""How the page looks, by light and dark, on a phone and on paper, and the script that sorts tables."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--muted:#57606a;--rule:#d5dae0;--band:#f5f7f9;
--accent:#0b5394;--good:#14632f;--bad:#a1360a;--control:#8a4b00;--oracle:#6b3fa0;--teacher:#14632f;
--h0:#fff;--h1:#e6eff8;--h2:#cbdff1;--h3:#abcbe8;--h4:#86b3dc;--heat-ink:#10151a}
@media (prefers-color-scheme:dark){:root{--page:#14181c;--ink:#e6e9ed;--muted:#a2acb8;--rule:#363e47;--band:#1c2228;
--accent:#7ab8f5;--good:#6fcf8f;--bad:#ff9e73;--control:#f0b35a;--oracle:#c7a6f5;--teacher:#6fcf8f;
--h0:#14181c;--h1:#1b2b3a;--h2:#213d57;--h3:#275075;--h4:#2d6494;--heat-ink:#f4f7fa}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);line-height:1.55;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-size:16px}
main,header,footer{max-width:1180px;margin:0 auto;padding:0 20px}
header{padding-top:36px}
footer{padding-bottom:48px;color:var(--muted);font-size:.875rem}
h1,h2,h3{line-height:1.25;text-wrap:balance;overflow-wrap:anywhere}
h1{font-size:1.9rem;margin:0 0 .3em}
h2{font-size:1.4rem;margin:2.4em 0 .6em;padding-top:.6em;border-top:2px solid var(--ink)}
h3{font-size:1.08rem;margin:2.2em 0 .6em}
p,li,dd{max-width:75ch;overflow-wrap:anywhere}
nav ul{display:flex;flex-wrap:wrap;gap:4px 18px;list-style:none;margin:1em 0 0;padding:0}
a{color:var(--accent)}
.lead,.note,figcaption,caption{color:var(--muted)}
.note{font-size:.875rem}
.verdict{margin:0;padding:14px 20px 14px 36px;background:var(--band);border-left:4px solid var(--accent)}
.verdict li{margin:.35em 0}
.scroll{overflow-x:auto;max-width:100%}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.875rem;margin:0}
.scroll+.scroll:not(.panel),.scroll+p,details .scroll{margin-top:14px}
.panels>.scroll+.scroll{margin-top:0}
caption{text-align:left;padding:0 0 8px;font-size:.875rem}
caption span{display:block;position:sticky;left:0;width:fit-content;max-width:min(75ch,calc(100vw - 28px))}
th,td{padding:5px 12px 5px 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule);font-weight:400}
thead th{font-weight:600;border-bottom:2px solid var(--ink);vertical-align:bottom;white-space:nowrap}
th small{display:block;font-weight:400;color:var(--muted)}
.n{text-align:right;white-space:nowrap}
table.board th[scope=row]{white-space:nowrap}
table.wordy td{max-width:46ch;overflow-wrap:break-word}
table.wordy td:last-child{min-width:22ch}
tr.reference{font-style:italic;background:var(--band)}
tr.winner th{font-weight:650}
.marks{color:var(--muted)}
.better,.better .marks{color:var(--good)}
.worse,.worse .marks,.warning{color:var(--bad)}
.missing{color:var(--muted)}
th button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer;text-align:inherit;
text-decoration:underline dotted;text-underline-offset:3px}
th[aria-sort=ascending] button::after{content:" \\2191"}
th[aria-sort=descending] button::after{content:" \\2193"}
dl{margin:14px 0 0}
dl.notes div{display:grid;grid-template-columns:5.5em 1fr;gap:0 12px;font-size:.875rem;padding:2px 0}
dt{color:var(--muted);overflow-wrap:anywhere}
dd{margin:0}
dl.example dd{max-width:none;margin:2px 0 12px}
pre{margin:0;padding:10px 12px;background:var(--band);border:1px solid var(--rule);font-size:.8125rem;line-height:1.45;
font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;white-space:pre-wrap;
overflow-wrap:anywhere}
details{margin:14px 0}
summary{cursor:pointer;color:var(--accent)}
figure{margin:0}
figcaption{font-size:.875rem;margin-top:10px;max-width:75ch}
.panels{display:flex;flex-wrap:wrap;gap:22px 36px;align-items:flex-start}
.panels>*{max-width:100%}
svg{display:block;font-size:12px;font-variant-numeric:tabular-nums}
svg text{fill:var(--ink)}
svg .title{font-weight:600;font-size:13px}
svg .tick,svg .axis,svg .muted{fill:var(--muted)}
svg .muted{font-style:italic;paint-order:stroke;stroke:var(--page);stroke-width:4px}
svg .grid{stroke:var(--rule);stroke-width:1}
svg .chance{stroke:var(--muted);stroke-dasharray:1 3;stroke-width:1.5}
svg .reference{stroke:var(--ink);stroke-width:1.3;fill:none}
svg .student{stroke-dasharray:6 4}
svg .teacher{stroke:var(--teacher)}
svg .reference-label{font-size:11px;paint-order:stroke;stroke:var(--page);stroke-width:3px}
svg .interval{stroke:var(--accent);stroke-width:2.5}
svg .thin{stroke-width:1.5;stroke-dasharray:4 3}
svg .mean{stroke:var(--ink);stroke-width:1.5}
svg .mark{fill:var(--accent);stroke:var(--accent);stroke-width:1.6}
svg .control{fill:var(--control);stroke:var(--control)}
svg .oracle{fill:var(--oracle);stroke:var(--oracle)}
svg .hollow{fill:var(--page)}
svg .ring{fill:none;stroke:var(--ink);stroke-width:1.2}
svg .front{fill:none;stroke:var(--ink);stroke-width:1.2;stroke-dasharray:2 3}
svg .axis-line{stroke:var(--ink);stroke-width:1.3}
svg .leader{fill:none;stroke:var(--muted);stroke-width:1}
svg .clique{stroke:var(--accent);stroke-width:5}
table.heat td,table.heat th{padding:4px 9px}
table.heat td{color:var(--heat-ink)}
.heat0{background:var(--h0)}.heat1{background:var(--h1)}.heat2{background:var(--h2)}.heat3{background:var(--h3)}
.heat4{background:var(--h4)}
table.heat td.heat0{color:var(--ink)}
table.heat td.chosen{outline:2px solid var(--ink);outline-offset:-2px;font-weight:650}
@media (max-width:600px){body{font-size:15px}main,header,footer{padding-left:14px;padding-right:14px}
h1{font-size:1.5rem}h2{font-size:1.25rem}.verdict{padding-left:28px}
dl.notes div{grid-template-columns:4.2em 1fr}}
@media print{th button{text-decoration:none}:root{--page:#fff;--ink:#000;--muted:#444;--rule:#bbb;--band:#f4f4f4}
body{font-size:10pt}nav{display:none}main,header,footer{max-width:none;padding:0}
.scroll{overflow:visible}table{font-size:8pt}th,td{padding-right:6px}
figure,tr,pre,svg{break-inside:avoid}h2,h3{break-after:avoid}
svg{max-width:100%;height:auto}}
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const scale = {k: 1e3, M: 1e6, G: 1e9, T: 1e12};
  const key = (row, at) => {
    const words = row.cells[at].textContent.trim();
    const found = /^(-?[0-9]+(?:[.][0-9]+)?)(?: ([kMGT]))?/.exec(words);
    return found ? Number(found[1]) * (scale[found[2]] || 1) : words;
  };
  heads.forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(head.firstChild);
    head.prepend(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const numbered = head.classList.contains("n");
      const rows = [...body.rows].map((row) => [key(row, at), row]);
      rows.sort(([a], [b]) => {
        if (numbered && typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
        const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
        return up ? order : -order;
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}
"""
