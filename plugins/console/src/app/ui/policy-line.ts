import { ChangeDetectionStrategy, Component, computed, inject, input } from '@angular/core';
import { RouterLink } from '@angular/router';

/** A page that shows the text of a policy itself provides it: lines of that policy are then shown there. */
export abstract class PolicyText {
  abstract readonly name: () => string;
  abstract goTo(line: number, column?: number | null): void;
}

/**
 * Where a policy decided. On the page of that policy it leads to the line there, elsewhere to its page, in the revision
 * that decided. Of a library (`file`) the line is only named.
 */
@Component({
  selector: 'otad-policy-line',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [RouterLink],
  template: `@if (here() && line() && !file()) {
      <button type="button" (click)="text!.goTo(line()!)">line {{ line() }}</button>
    } @else if (!here()) {
      <a
        [routerLink]="['/policies', policy()]"
        [queryParams]="{ revision: revision(), line: file() ? null : line() }"
        >{{ line() && !file() ? policy() + ', line ' + line() : policy() }}</a
      >
    }
    @if (file(); as file) {
      <code>{{ file }}:{{ line() }}</code>
    }`,
  styles: `
    button {
      min-height: 24px;
      padding: 0;
      border: 0;
      background: none;
      font: inherit;
      cursor: pointer;
    }
    a,
    button {
      color: var(--accent);
      text-decoration: underline;
    }
    a,
    code {
      overflow-wrap: anywhere;
    }
  `,
})
export class PolicyLine {
  protected readonly text = inject(PolicyText, { optional: true });

  readonly policy = input.required<string>();
  /** null: the one in force. */
  readonly revision = input<string | null>(null);
  readonly line = input<number | null>(null);
  readonly file = input<string | null>(null);
  protected readonly here = computed(() => this.revision() === null && this.text?.name() === this.policy());
}
