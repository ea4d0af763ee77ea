import {
  ChangeDetectionStrategy,
  Component,
  computed,
  ElementRef,
  input,
  model,
  signal,
  viewChild,
} from '@angular/core';
import { MatAutocompleteModule, MatAutocompleteTrigger } from '@angular/material/autocomplete';
import { MatChipsModule } from '@angular/material/chips';
import { MatFormFieldModule } from '@angular/material/form-field';
import { mdiClose } from '@mdi/js';
import { count } from '../core/format';
import { Facet } from '../core/models';
import { Icon } from './icon';

const ENTER = 13;
const COMMA = 188;
const SHOWN = 12; // suggestions

/** Several short texts in one field, with suggestions; `check` says what is wrong with one. */
@Component({
  selector: 'otad-token-field',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Icon, MatAutocompleteModule, MatChipsModule, MatFormFieldModule],
  template: `<mat-form-field>
    <mat-label>{{ label() }}</mat-label>
    <mat-chip-grid #grid [attr.aria-label]="label()">
      @for (value of values(); track value) {
        <mat-chip-row (removed)="remove(value)">
          {{ value }}
          <button matChipRemove [attr.aria-label]="'Remove ' + value"><otad-icon [path]="icon" /></button>
        </mat-chip-row>
      }
    </mat-chip-grid>
    <input
      #box
      autocomplete="off"
      [matChipInputFor]="grid"
      [matChipInputSeparatorKeyCodes]="separators()"
      [matChipInputAddOnBlur]="!auto.isOpen"
      [matAutocomplete]="auto"
      (input)="type(box.value)"
      [attr.aria-invalid]="problem() ? true : null"
      (matChipInputTokenEnd)="add($event.value)"
    />
    <mat-autocomplete #auto="matAutocomplete" (optionSelected)="add($event.option.value)">
      @for (one of matching(); track one.value) {
        <mat-option [value]="one.value"
          >{{ one.value }} <span class="muted">{{ number(one.count) }}</span></mat-option
        >
      }
    </mat-autocomplete>
    <mat-hint [class.wrong]="problem()">{{ problem() ?? hint() }}</mat-hint>
  </mat-form-field>`,
  styles: `
    mat-form-field {
      width: 100%;
    }
    mat-form-field ::ng-deep .mat-mdc-form-field-infix {
      display: flex;
      flex-wrap: wrap;
      align-items: center;
      gap: 4px 8px;
    }
    input {
      flex: 1 1 90px;
      margin: 0;
      min-width: 0;
    }
    .wrong {
      color: var(--bad);
    }
    otad-icon {
      width: 16px;
      height: 16px;
    }
  `,
})
export class TokenField {
  readonly label = input.required<string>();
  readonly hint = input('');
  readonly values = model.required<string[]>();
  readonly suggestions = input<Facet[]>([]);
  readonly check = input<(text: string) => string | null>(() => null);
  /** Keys that end a text. */
  readonly separators = input([ENTER, COMMA]);
  /** What the server says is wrong. */
  readonly error = input<string>();

  protected readonly icon = mdiClose;
  protected readonly number = count;
  protected readonly typed = signal('');
  protected readonly mistake = signal<string | null>(null);
  protected readonly problem = computed(() => this.mistake() ?? this.error());
  protected readonly matching = computed(() => {
    const text = this.typed().trim().toLowerCase();
    return this.suggestions()
      .filter(({ value }) => value.toLowerCase().includes(text) && !this.values().includes(value))
      .slice(0, SHOWN);
  });
  /** Text in the box that is none of the values yet, as it is typed still or was refused. */
  readonly pending = computed(() => this.typed().trim() !== '');
  private readonly list = viewChild.required(MatAutocompleteTrigger);
  private readonly box = viewChild.required<ElementRef<HTMLInputElement>>('box');

  protected type(text: string): void {
    this.typed.set(text);
    this.mistake.set(null);
  }

  protected add(text: string): void {
    const value = text.trim();
    const mistake = value ? this.check()(value) : null;
    this.mistake.set(mistake);
    this.list().closePanel(); // it would lie over the field below
    if (mistake) return;
    this.box().nativeElement.value = '';
    this.typed.set('');
    if (value && !this.values().includes(value)) this.values.set([...this.values(), value]);
  }

  /** Takes in what is still being typed; false: it is wrong, and the field has the focus. */
  take(): boolean {
    const box = this.box().nativeElement;
    this.add(box.value);
    if (this.mistake() === null) return true;
    box.focus();
    return false;
  }

  protected remove(value: string): void {
    this.values.set(this.values().filter((one) => one !== value));
  }
}
