/** The colour theme: the system's, or the other one once the toggle has been pressed. */

/** @typedef {'light' | 'dark'} Theme */

const KEY = 'sse-channels.theme';
const system = matchMedia('(prefers-color-scheme: dark)');
/** @type {Set<() => void>} */
const listeners = new Set();

/** @type {Theme | null} */
let chosen = read();
apply();
system.addEventListener('change', () => {
  apply();
  for (const listener of listeners) listener();
});

/** The theme that is shown now. @returns {Theme} */
export function currentTheme() {
  return chosen ?? systemTheme();
}

/** Calls back after each change of colours, whoever made it. @param {() => void} listener */
export function onThemeChange(listener) {
  listeners.add(listener);
}

/** Makes a button switch between light and dark. @param {HTMLButtonElement} button */
export function bindThemeToggle(button) {
  const label = () =>
    button.setAttribute('aria-label', `Switch to the ${currentTheme() === 'dark' ? 'light' : 'dark'} theme`);
  button.addEventListener('click', () => {
    const next = currentTheme() === 'dark' ? 'light' : 'dark';
    // Back at the system's theme means following the system again.
    chosen = next === systemTheme() ? null : next;
    write(chosen);
    apply();
    for (const listener of listeners) listener();
  });
  onThemeChange(label);
  label();
}

/** @returns {Theme} */
function systemTheme() {
  return system.matches ? 'dark' : 'light';
}

function apply() {
  document.documentElement.dataset.theme = currentTheme();
}

/** @returns {Theme | null} */
function read() {
  try {
    const stored = localStorage.getItem(KEY);
    return stored === 'light' || stored === 'dark' ? stored : null;
  } catch {
    // Storage may be forbidden; the toggle then lasts as long as the page.
    return null;
  }
}

/** @param {Theme | null} theme */
function write(theme) {
  try {
    if (theme === null) localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme);
  } catch {
    // As in read().
  }
}
