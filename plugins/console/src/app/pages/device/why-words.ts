// What GET /devices/:id/explain says, for who reads it in the console: its times local, its advice in terms of buttons.
import { fullTime } from '../../core/format';

const UTC = /\b(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC\b/g;

export function forConsole(text: string): string {
  return text
    .replace(UTC, (_, day, clock) => fullTime(`${day}T${clock}Z`))
    .replace(/ \(POST \/rollouts\/:id\/resume\)/g, '')
    .replace(/(: |; |or )?POST \/devices\/:id\/update\b( (?:updates|tries))?/g, (_, before = '', verb) =>
      verb ? `${before}the button Update${verb}` : `${before}use the button Update`,
    )
    .replace('PATCH its `chip` to what it is', 'set its chip to what it is, by Edit chip and tags')
    .replace(/`/g, '');
}
