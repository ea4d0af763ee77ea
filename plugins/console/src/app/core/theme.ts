import { signal } from '@angular/core';

export type Theme = 'system' | 'light' | 'dark';

const KEY = 'otad-theme';

function stored(): Theme {
  const value = localStorage.getItem(KEY);
  return value === 'light' || value === 'dark' ? value : 'system';
}

export const theme = signal<Theme>(stored());

/** Puts the theme in force; called before the first paint and by setTheme(). */
export function applyTheme(): void {
  document.documentElement.style.colorScheme = theme() === 'system' ? 'light dark' : theme();
}

export function setTheme(value: Theme): void {
  theme.set(value);
  localStorage.setItem(KEY, value);
  applyTheme();
}
