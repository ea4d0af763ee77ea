import { ChangeDetectionStrategy, Component, inject, Injectable, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MAT_DIALOG_DATA, MatDialog, MatDialogModule, MatDialogRef } from '@angular/material/dialog';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { firstValueFrom } from 'rxjs';

export interface Question {
  title: string;
  text: string;
  /** What the button says: the verb, never "OK". */
  verb: string;
  /** What the other button says, where "Cancel" would be taken for the verb. */
  no?: string;
  /** Whether it cannot be undone. */
  danger?: boolean;
  /** Asks for a reason: 'optional' or 'needed'. */
  reason?: 'optional' | 'needed';
  /** Has to be typed before the button works. */
  typed?: string;
}

@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [FormsModule, MatButtonModule, MatDialogModule, MatFormFieldModule, MatInputModule],
  template: `<h2 mat-dialog-title>{{ question.title }}</h2>
    <form (ngSubmit)="good() && ref.close(reason())">
      <mat-dialog-content class="stack">
        <p>{{ question.text }}</p>
        @if (question.reason) {
          <mat-form-field>
            <mat-label>Reason{{ question.reason === 'optional' ? ' (optional)' : '' }}</mat-label>
            <input
              matInput
              name="reason"
              maxlength="500"
              [required]="question.reason === 'needed'"
              [ngModel]="reason()"
              (ngModelChange)="reason.set($event)"
            />
          </mat-form-field>
        }
        @if (question.typed; as word) {
          <mat-form-field>
            <mat-label>Type {{ word }} to confirm</mat-label>
            <input matInput name="typed" autocomplete="off" [ngModel]="typed()" (ngModelChange)="typed.set($event)" />
          </mat-form-field>
        }
      </mat-dialog-content>
      <mat-dialog-actions align="end">
        <button matButton type="button" [mat-dialog-close]="undefined">{{ question.no ?? 'Cancel' }}</button>
        <button matButton="filled" type="submit" [class.danger]="question.danger" [disabled]="!good()">
          {{ question.verb }}
        </button>
      </mat-dialog-actions>
    </form>`,
  styles: `
    mat-dialog-content.stack {
      display: grid;
    }
    .danger:not([disabled]) {
      --mat-button-filled-container-color: light-dark(#b3261e, #f2b8b5);
      --mat-button-filled-label-text-color: light-dark(#fff, #601410);
    }
  `,
})
class ConfirmDialog {
  protected readonly ref = inject<MatDialogRef<ConfirmDialog, string>>(MatDialogRef);
  protected readonly question = inject<Question>(MAT_DIALOG_DATA);
  protected readonly reason = signal('');
  protected readonly typed = signal('');

  protected good(): boolean {
    return (
      (this.question.reason !== 'needed' || this.reason().trim() !== '') &&
      (!this.question.typed || this.typed() === this.question.typed)
    );
  }
}

@Injectable({ providedIn: 'root' })
export class Confirm {
  private readonly dialog = inject(MatDialog);

  /** The reason that was given ('' for none), or undefined: not confirmed. */
  ask(question: Question): Promise<string | undefined> {
    const ref = this.dialog.open<ConfirmDialog, Question, string>(ConfirmDialog, { data: question, width: '480px' });
    return firstValueFrom(ref.afterClosed());
  }
}
