// What the server explains of rollouts and devices, for who reads it in the console: times are local, and calls of the API,
// which explanations name for other clients, are the buttons that do the same.
import { fullTime } from './format';

function local(text: string): string {
  return text.replace(/\b(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC\b/g, (_, day, time) => fullTime(`${day}T${time}Z`));
}

/** Of a device. */
export function explainedDevice(text: string): string {
  return local(text)
    .replace(/ \(POST \/rollouts\/:id\/resume\)/g, '')
    .replace(/(: |; |or )?POST \/devices\/:id\/update\b( (?:updates|tries))?/g, (_, before = '', verb) =>
      verb ? `${before}the button Update${verb}` : `${before}use the button Update`,
    )
    .replace('PATCH its `chip` to what it is', 'set its chip to what it is, by Edit chip and tags')
    .replaceAll('`', '');
}

/** Of a rollout, without its name and state, which stand above it on the page. Pieces in backquotes are code. */
export function explainedRollout(text: string): { text: string; code: boolean }[] {
  return local(text)
    .replace(/^Rollout \d+ \(.*?\) to version .*?(?=It is in stage "|It begins at |It is about to begin|POST |$)/s, '')
    .replace(/\s*POST \/rollouts\/.*$/s, '')
    .split('`')
    .map((piece, i) => ({ text: piece, code: i % 2 === 1 }))
    .filter((piece) => piece.text);
}
