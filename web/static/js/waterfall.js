// The latency of one turn as a staircase from the caller's last word down to the agent's first sound.

const SCALE_MS = 800;

/** Elements for an exchange's row. @param {number} totalMs  @param {{name: string, ms: number}[]} parts in order of time */
export function waterfall(totalMs, parts) {
  const list = document.createElement('ol');
  list.className = 'steps';
  const words = parts.map(({ name, ms }) => `${name} ${Math.round(ms)}`).join(', ');
  list.setAttribute('aria-label', `Answered in ${Math.round(totalMs)} milliseconds: ${words}`);
  const scale = Math.max(SCALE_MS, totalMs, parts.reduce((sum, part) => sum + part.ms, 0));
  let fromMs = 0;
  parts.forEach(({ name, ms }, index) => {
    const step = document.createElement('li');
    step.style.setProperty('--from', fromMs / scale);
    step.style.setProperty('--share', ms / scale);
    step.style.setProperty('--mix', `${(100 * (index + 0.5)) / parts.length}%`);
    const label = document.createElement('span');
    label.className = fromMs + ms > scale * 0.6 ? 'before' : 'after';
    label.textContent = `${name} ${Math.round(ms)}`;
    step.append(document.createElement('i'), label);
    list.append(step);
    fromMs += ms;
  });
  const total = document.createElement('p');
  total.className = 'total';
  total.setAttribute('aria-hidden', 'true');
  total.append(String(Math.round(totalMs)), Object.assign(document.createElement('small'), { textContent: ' ms' }));
  return [list, total];
}
