import { ChangeDetectionStrategy, Component, input, model } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';

/** As they stand in the fields: null where one is empty. */
export interface Assumed {
  /** Percent. */
  failures: number | null;
  /** Of an update. */
  seconds: number | null;
  /** Pauses after which somebody resumes. */
  resumes: number | null;
  seed: number | null;
}

export const ASSUMED: Assumed = { failures: 2, seconds: 60, resumes: 0, seed: 1 };

type Name = keyof Assumed;

const FIELDS: { name: Name; label: string; unit: string; min: number; max: number; whole: boolean }[] = [
  { name: 'failures', label: 'Updates that fail', unit: '%', min: 0, max: 100, whole: false },
  { name: 'seconds', label: 'An update takes', unit: 's', min: 1, max: 2_592_000, whole: false },
  { name: 'resumes', label: 'Pauses that are resumed', unit: '', min: 0, max: 1000, whole: true },
  { name: 'seed', label: 'Random seed', unit: '', min: 0, max: 2_147_483_647, whole: true },
];

/** The part of POST /policies/simulate that says them; null: one of them cannot be. */
export function assumptionsOf(assumed: Assumed): object | null {
  const { failures, seconds, resumes, seed } = assumed;
  const good = FIELDS.every(({ name, min, max, whole }) => {
    const value = assumed[name];
    return value !== null && value >= min && value <= max && (!whole || Number.isInteger(value));
  });
  return good ? { resumes, seed, assume: { failure_rate: failures! / 100, duration_s: seconds } } : null;
}

/** What a simulation takes for given. */
@Component({
  selector: 'otad-assumptions',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [FormsModule, MatFormFieldModule, MatInputModule],
  template: `<fieldset>
    <legend>{{ legend() }}</legend>
    @for (field of fields; track field.name) {
      <mat-form-field hideRequiredMarker>
        <mat-label>{{ field.label }}</mat-label>
        <input
          matInput
          type="number"
          required
          [name]="'assumed-' + field.name"
          [min]="field.min"
          [max]="field.max"
          [step]="field.whole ? 1 : 'any'"
          [ngModel]="assumed()[field.name]"
          [ngModelOptions]="{ standalone: true }"
          (ngModelChange)="change(field.name, $event)"
        />
        <span matTextSuffix>{{ field.unit }}</span>
      </mat-form-field>
    }
  </fieldset>`,
  styles: `
    fieldset {
      display: grid;
      grid-template-columns: repeat(auto-fit, minmax(170px, 1fr));
      gap: 10px 12px;
      margin: 0;
      padding: 0;
      border: 0;
      min-width: 0;
    }
    legend {
      padding: 0 0 8px;
      color: var(--muted);
      font-size: 13px;
    }
  `,
})
export class Assumptions {
  readonly assumed = model.required<Assumed>();
  readonly legend = input('Assumed');
  protected readonly fields = FIELDS;

  protected change(name: Name, value: number | null): void {
    this.assumed.update((assumed) => ({ ...assumed, [name]: value }));
  }
}
