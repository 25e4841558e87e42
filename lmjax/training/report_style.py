"""How the report page looks: its frame and its style sheet. Doubled braces are braces of CSS."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · lmjax</title>
<style>
:root {{
  --paper: #fdfdfb; --ink: #22262b; --soft: #667079; --rule: #dfe2e2; --box: #f4f5f3; --first: #2f6f9f; --second: #c2571a;
  --third: #3d8a4e; --fourth: #8a4fa0; --fifth: #a17a00; --sixth: #b33a5b;
}}
@media (prefers-color-scheme: dark) {{
  :root {{
    --paper: #15181b; --ink: #dde1e4; --soft: #939da6; --rule: #33393f; --box: #1d2125; --first: #74b3dd; --second: #f0985c;
    --third: #7cc98c; --fourth: #c79be0; --fifth: #dcbc55; --sixth: #ef8fa9;
  }}
}}
* {{ box-sizing: border-box; }}
body {{
  margin: 0 auto; padding: 3rem 1.5rem 5rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}}
h1, h2 {{ font-family: Charter, "Bitstream Charter", "Iowan Old Style", Georgia, serif; font-weight: 600; line-height: 1.2; }}
h1 {{ margin: 0; font-size: 2.3rem; letter-spacing: -0.01em; overflow-wrap: anywhere; }}
h2 {{ margin: 3rem 0 1rem; padding-bottom: .35rem; font-size: 1.35rem; border-bottom: 1px solid var(--rule); }}
h3 {{ margin: 1.2rem 0 .4rem; font-size: .85rem; font-weight: 600; color: var(--soft); overflow-wrap: anywhere; }}
header p {{ margin: .5rem 0 0; color: var(--soft); }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1.5rem; margin-top: 2rem; }}
.tile {{ padding-top: .7rem; border-top: 2px solid var(--ink); }}
.tile b {{ display: block; font-size: 1.7rem; font-weight: 600; line-height: 1.2; letter-spacing: -0.02em; }}
.tile span {{ display: block; font-size: .9rem; }}
.tile i {{ display: block; font-size: .8rem; font-style: normal; color: var(--soft); }}
.figures {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); gap: 1.5rem 2rem; }}
figure {{ margin: 0; }}
.alone {{ max-width: 44rem; }}
.tight th, .tight td {{ white-space: nowrap; overflow-wrap: normal; font-size: .82rem; }}
svg {{ display: block; width: 100%; height: auto; overflow: visible; }}
svg * {{ stroke-linejoin: round; stroke-linecap: butt; }}
pre {{
  margin: 0; padding: .9rem 1.1rem; max-height: 26rem; overflow: auto; background: var(--box); border-radius: 4px;
  font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  white-space: pre-wrap; overflow-wrap: anywhere;
}}
table {{ border-collapse: collapse; width: 100%; font-size: .9rem; }}
th, td {{ padding: .28rem 1rem .28rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }}
th {{ width: 16rem; font-weight: 400; color: var(--soft); overflow-wrap: anywhere; }}
td {{ overflow-wrap: anywhere; }}
td i {{ color: var(--soft); }}
.wide {{ overflow-x: auto; }}
.numbers th, .numbers td {{ width: auto; text-align: right; }}
.numbers th:first-child, .numbers td:first-child {{ text-align: left; }}
.columns {{ columns: 2 24rem; column-gap: 2.5rem; }}
.columns > div {{ break-inside: avoid; padding-bottom: .8rem; }}
.columns h3 {{ margin-top: 0; }}
.columns th {{ width: 45%; }}
.columns td, .columns th {{ font-size: .85rem; }}
@media print {{ pre {{ max-height: none; }} section {{ break-inside: avoid-page; }} }}
</style>
</head>
<body>
<header><h1>{title}</h1><p>{subtitle}</p></header>
<div class="tiles">{tiles}</div>
{body}
</body>
</html>
"""
