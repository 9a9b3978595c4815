// A round button in the corner of somebody else's page, which opens a page of this server above it:
// <script src="https://talk.example.org/static/embed.js" data-page="/quiz" data-label="Ask us" defer></script>
{
  const { dataset, src } = document.currentScript;
  const label = dataset.label ?? 'Talk to us';
  const page = new URL(dataset.page ?? '/', src).href;
  const corner = document.createElement('div');
  const root = corner.attachShadow({ mode: 'open' }); // out of reach of the site's own styles
  const style = new CSSStyleSheet(); // the site's content security policy may forbid any other
  style.replaceSync(`
    :host { all: initial; position: fixed; z-index: 2147483647; right: 1rem; bottom: 1rem; display: grid; justify-items: end; gap: .75rem; }
    button { width: 3.5rem; height: 3.5rem; padding: 0; border: 0; border-radius: 50%; background: #1f4fd8; cursor: pointer; box-shadow: 0 6px 20px -6px #0008; }
    button:focus-visible { outline: 3px solid #1f4fd8; outline-offset: 3px; }
    svg { display: block; width: 2rem; margin: auto; fill: #fff; stroke: #fff; stroke-width: 0; }
    [aria-expanded="true"] svg { stroke-width: 3; stroke-linecap: round; }
    iframe { width: min(360px, 100vw - 2rem); height: min(480px, 100dvh - 7rem); border: 0; border-radius: 1rem; box-shadow: 0 12px 40px -12px #0008; }`);
  root.adoptedStyleSheets = [style];

  const button = document.createElement('button');
  const drawing = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  drawing.setAttribute('viewBox', '0 0 32 32');
  drawing.setAttribute('aria-hidden', 'true');
  drawing.append(path);
  button.append(drawing);
  root.append(button);

  let frame = null;
  const show = () => {
    button.setAttribute('aria-label', frame ? `Close: ${label}` : label);
    button.setAttribute('aria-expanded', Boolean(frame));
    path.setAttribute('d', frame ? 'M9 9l14 14M23 9 9 23' : 'M15 16 3 9v14zM17 16 29 9v14z');
  };
  button.addEventListener('click', () => {
    if (frame) {
      frame.remove(); // which hangs up
      frame = null;
    } else {
      frame = Object.assign(document.createElement('iframe'), { src: page, title: label, allow: 'microphone; autoplay' });
      button.before(frame);
    }
    show();
  });
  show();
  if (document.body) document.body.append(corner);
  else addEventListener('DOMContentLoaded', () => document.body.append(corner));
}
