/** The head of the page: where you are, and the one button that cuts and restores the connection. */
import { useSyncExternalStore } from 'react';
import { onThemeChange, otherTheme, toggleTheme } from '../theme.js';
import { connection, useShown } from './floor-connection.js';

export function Masthead() {
  const { status } = useShown();
  const theme = useSyncExternalStore(onThemeChange, otherTheme);
  const isCut = status === 'cut';
  return (
    <header className="masthead">
      <div className="masthead-inner">
        <h1 className="brand">
          <svg className="brand-mark" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
            <path d="M4 22.5 10.5 14l5.5 5L28 6.5" />
            <circle cx="28" cy="6.5" r="2.6" />
            <path className="brand-echo" d="M4 28.5h24" />
          </svg>
          <span className="brand-name">
            SSE Channels{' '}
            <span className="brand-place">
              <span className="brand-dot">· </span>trading floor
            </span>
          </span>
        </h1>
        <nav className="pages" aria-label="Pages">
          <a className="page" href="/">
            TypeScript
          </a>
          <a className="page" href="/react" aria-current="page">
            React
          </a>
        </nav>
        <button
          type="button"
          className="button button-icon theme-toggle"
          data-testid="theme-toggle"
          aria-label={`Switch to the ${theme} theme`}
          onClick={toggleTheme}
        >
          <svg className="icon icon-sun" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
            <circle cx="12" cy="12" r="4" />
            <path d="M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4" />
          </svg>
          <svg className="icon icon-moon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
            <path d="M20.5 14.2A8.5 8.5 0 0 1 9.8 3.5a8.5 8.5 0 1 0 10.7 10.7Z" />
          </svg>
        </button>
        <div className="connection">
          <span className="pill" data-state={status} role="status">
            <span className="pill-dot" aria-hidden="true" />
            <span className="visually-hidden">Connection: </span>
            <span data-testid="connection-state">{status}</span>
          </span>
          <button
            type="button"
            className="button button-cut"
            data-testid="cut-button"
            data-action={isCut ? 'restore' : 'cut'}
            onClick={() => (isCut ? connection.restore() : connection.cut())}
          >
            {isCut ? 'Restore connection' : 'Cut connection'}
          </button>
        </div>
      </div>
    </header>
  );
}
