import { ChangeDetectionStrategy, Component, computed, inject, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MAT_DIALOG_DATA, MatDialogModule, MatDialogRef } from '@angular/material/dialog';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { ApiError } from '../../core/api';
import { counted } from '../../core/format';
import { PolicyProblem } from '../../core/models';
import { Loading, Problem } from '../../ui/notice';
import { PolicyDocument } from './document';
import { DiffView } from './editor/diff-view';
import { ProblemList } from './problem-list';
import { mergeProblems, problemWords } from './source';

/** Before a text comes into force: what changes, what the check says, and a message for those who come later. */
@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [
    DiffView,
    FormsModule,
    Loading,
    MatButtonModule,
    MatDialogModule,
    MatFormFieldModule,
    MatInputModule,
    Problem,
    ProblemList,
  ],
  templateUrl: './activate.html',
  styleUrl: './dialogs.scss',
})
export class ActivateDialog {
  private readonly ref = inject<MatDialogRef<ActivateDialog, 'activated' | 'faster'>>(MatDialogRef);
  protected readonly policy = inject<PolicyDocument>(MAT_DIALOG_DATA);
  protected readonly message = signal('');
  protected readonly busy = signal(false);
  protected readonly error = signal<ApiError | null>(null);
  private readonly refused = signal<PolicyProblem[]>([]); // by the server, when it was to come into force

  protected readonly problems = computed(() => mergeProblems(this.policy.problems(), this.refused()));
  protected readonly rollouts = computed(() => this.policy.base()?.rollouts ?? 0);
  protected readonly problemWords = problemWords;
  protected readonly counted = counted;

  protected good(): boolean {
    return !this.busy() && !this.policy.checking() && !this.policy.errors();
  }

  protected async activate(): Promise<void> {
    if (!this.good()) return;
    this.busy.set(true);
    this.error.set(null);
    this.ref.disableClose = true;
    try {
      await this.policy.activate(this.message().trim());
      this.ref.close('activated');
    } catch (problem) {
      const error = ApiError.of(problem);
      if (error.status === 412 && this.policy.newer()) return this.ref.close('faster');
      this.refused.set((error.body['problems'] as PolicyProblem[]) ?? []);
      this.error.set(error);
    } finally {
      this.busy.set(false);
      this.ref.disableClose = false;
    }
  }
}
