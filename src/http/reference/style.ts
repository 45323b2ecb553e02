/** The look of the reference page: one column on a phone, contents at the side where there is room, dark when asked. */
export const style = `
:root { color-scheme: light dark;
  --ground: light-dark(#ffffff, #14171c); --raised: light-dark(#f4f6f8, #1d2229); --line: light-dark(#d8dee5, #333b45);
  --ink: light-dark(#1b2430, #e3e8ee); --soft: light-dark(#566273, #9aa7b6); --link: light-dark(#0b5cad, #78b7ff);
  --get: light-dark(#1b6e3c, #63d08f); --post: light-dark(#0b5cad, #78b7ff); --patch: light-dark(#8a5200, #efb45c);
  --delete: light-dark(#b3261e, #ff8f86); }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
code, pre, .path { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .9em; }
code { overflow-wrap: anywhere; }
pre { background: var(--raised); border: 1px solid var(--line); border-radius: 6px; padding: .75rem; overflow-x: auto; }
header, main, nav { padding: 1rem; max-width: 56rem; }
h1 { margin: .5rem 0; } h1 small { font-size: 1rem; font-weight: 400; color: var(--soft); }
h2 { margin: 2.5rem 0 .5rem; border-bottom: 1px solid var(--line); text-transform: capitalize; }
h4 { margin: 1rem 0 .25rem; color: var(--soft); font-size: .85rem; text-transform: uppercase; letter-spacing: .04em; }
nav ul { list-style: none; margin: 0 0 .5rem; padding: 0; } nav li a { display: block; padding: .2rem 0; }
nav h2 { margin: 0 0 .5rem; border: 0; font-size: 1.1rem; }
nav summary { cursor: pointer; padding: .3rem 0; text-transform: capitalize; } nav ul { padding-left: 1.1rem; }
.refusals { margin-top: .75rem; } .refusals summary { cursor: pointer; color: var(--soft); padding: .3rem 0; }
article { margin: 1rem 0; border: 1px solid var(--line); border-radius: 8px; }
article > details > summary { display: grid; grid-template-columns: auto 1fr; gap: .25rem .75rem; align-items: baseline;
  padding: .75rem 1rem; cursor: pointer; }
article > details > summary .what { grid-column: 1 / -1; color: var(--soft); }
article > details > div { scroll-margin-top: 6rem; padding: 0 1rem 1rem; border-top: 1px solid var(--line); }
.path { overflow-wrap: anywhere; font-weight: 600; }
.method { font-weight: 700; font-size: .8rem; min-width: 3.6rem; }
.get { color: var(--get); } .post, .put { color: var(--post); } .patch { color: var(--patch); } .delete { color: var(--delete); }
dl { margin: 0; } dt { padding-top: .5rem; border-top: 1px solid var(--line); margin-top: .5rem; }
dt:first-child { border-top: 0; margin-top: 0; } dd { margin: 0; }
.type, .note { color: var(--soft); font-size: .9rem; } dd p { margin: .15rem 0; }
.skip { position: absolute; left: -100vw; } .skip:focus { left: 1rem; top: 1rem; background: var(--ground); padding: .5rem; }
@media (min-width: 70rem) {
  body { display: grid; grid-template-columns: 19rem minmax(0, 1fr); grid-template-rows: auto 1fr; }
  header { grid-column: 2; } main { grid-column: 2; padding-top: 0; }
  nav { grid-row: 1 / span 2; grid-column: 1; position: sticky; top: 0; height: 100vh; overflow-y: auto;
    background: var(--raised); border-right: 1px solid var(--line); font-size: .9rem; }
}
@media print { nav { display: none; } }
`;
