// The latency of one turn as a staircase from the caller's last word down to the agent's first sound.

const SCALE_MS = 800;
const WIDEST = 0.66; // of the column, so that labels fit beside the bars
const LEAST_MS = 1;
const PLAIN = {
  'final words': 'hearing', endpointing: 'waiting', 'LLM first word': 'thinking',
  'first clause': 'phrasing', 'first frame': 'voicing', playout: 'sending',
};

/** Elements for an exchange's row. @param {number} totalMs  @param {{name: string, ms: number}[]} parts in order of time */
export function waterfall(totalMs, parts) {
  const list = document.createElement('ol');
  list.className = 'steps';
  const spent = parts
    .map(({ name, ms }, index) => ({ name: PLAIN[name] ?? name, ms, mix: (index + 0.5) / parts.length }))
    .filter(({ ms }) => ms >= LEAST_MS);
  const words = spent.map(({ name, ms }) => `${name} ${Math.round(ms)}`).join(', ');
  list.setAttribute('aria-label', `Answered in ${Math.round(totalMs)} milliseconds: ${words}`);
  const scale = Math.max(SCALE_MS, totalMs) / WIDEST;
  let fromMs = 0;
  for (const { name, ms, mix } of spent) {
    const step = document.createElement('li');
    step.style.setProperty('--from', fromMs / scale);
    step.style.setProperty('--share', ms / scale);
    step.style.setProperty('--mix', `${100 * mix}%`);
    const label = document.createElement('span');
    label.className = fromMs > scale * 0.5 ? 'before' : 'after';
    label.textContent = `${name} ${Math.round(ms)}`;
    step.append(document.createElement('i'), label);
    list.append(step);
    fromMs += ms;
  }
  const total = document.createElement('p');
  total.className = 'total';
  total.setAttribute('aria-hidden', 'true');
  total.append(String(Math.round(totalMs)), Object.assign(document.createElement('small'), { textContent: ' ms' }));
  return [list, total];
}
