import { ChangeDetectionStrategy, Component, computed, inject, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MAT_DIALOG_DATA, MatDialogModule, MatDialogRef } from '@angular/material/dialog';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { MatSelectModule } from '@angular/material/select';
import { nameProblem } from './source';

/** A name, and what to begin with. Nothing is made yet: the policy exists once its text is activated. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [FormsModule, MatButtonModule, MatDialogModule, MatFormFieldModule, MatInputModule, MatSelectModule],
  template: `<h2 mat-dialog-title>New policy</h2>
    <form (ngSubmit)="go()">
      <mat-dialog-content class="stack">
        <mat-form-field>
          <mat-label>Name</mat-label>
          <input
            matInput
            name="name"
            autocomplete="off"
            autocapitalize="off"
            spellcheck="false"
            required
            [ngModel]="name()"
            (ngModelChange)="name.set($event)"
            [attr.aria-invalid]="!!name() && !!problem()"
          />
          <mat-hint [class.wrong]="!!name() && !!problem()" aria-live="polite">{{
            (name() && problem()) || 'a to z, 0 to 9 and _, such as night_window'
          }}</mat-hint>
        </mat-form-field>
        <mat-form-field>
          <mat-label>Begin with</mat-label>
          <mat-select name="from" [ngModel]="from()" (ngModelChange)="from.set($event)">
            <mat-option value="">A small policy with comments</mat-option>
            @for (other of names; track other) {
              <mat-option [value]="other">A copy of {{ other }}</mat-option>
            }
          </mat-select>
        </mat-form-field>
        <p class="muted">Next you write it. It exists once you activate it.</p>
      </mat-dialog-content>
      <mat-dialog-actions align="end">
        <button matButton type="button" mat-dialog-close>Cancel</button>
        <button matButton="filled" type="submit" [disabled]="!!problem()">Continue</button>
      </mat-dialog-actions>
    </form>`,
  styles: `
    .stack {
      padding-top: 6px !important;
    }
    .wrong {
      color: var(--bad);
    }
  `,
})
export class NewPolicy {
  private readonly ref = inject<MatDialogRef<NewPolicy, { name: string; from: string }>>(MatDialogRef);
  protected readonly names = inject<string[]>(MAT_DIALOG_DATA);
  protected readonly name = signal('');
  protected readonly from = signal('');
  protected readonly problem = computed(() =>
    this.names.includes(this.name()) ? 'A policy of this name exists already.' : nameProblem(this.name()),
  );

  protected go(): void {
    if (!this.problem()) this.ref.close({ name: this.name(), from: this.from() });
  }
}
