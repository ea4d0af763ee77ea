import { ChangeDetectionStrategy, Component, computed, inject, signal } from '@angular/core';
import { FormsModule } from '@angular/forms';
import { MatButtonModule } from '@angular/material/button';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { Api, ApiError } from '../../core/api';
import { Session } from '../../core/session';
import { Problem } from '../../ui/notice';
import { Toast } from '../../ui/toast';

/** A new password ends all sessions of the account; this one begins anew with it. */
@Component({
  selector: 'otad-change-password',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [FormsModule, MatButtonModule, MatFormFieldModule, MatInputModule, Problem],
  template: `<form class="stack" (ngSubmit)="submit()">
    @if (error(); as problem) {
      <otad-problem [error]="problem" [retryable]="false" />
    }
    <input
      class="visually-hidden"
      type="email"
      autocomplete="username"
      readonly
      tabindex="-1"
      aria-label="Account"
      [value]="session.user()?.email"
    />
    <mat-form-field>
      <mat-label>Current password</mat-label>
      <input
        matInput
        type="password"
        name="present"
        autocomplete="current-password"
        required
        [ngModel]="present()"
        (ngModelChange)="present.set($event)"
      />
    </mat-form-field>
    <mat-form-field>
      <mat-label>New password</mat-label>
      <input
        matInput
        type="password"
        name="next"
        autocomplete="new-password"
        required
        minlength="10"
        maxlength="128"
        [ngModel]="next()"
        (ngModelChange)="next.set($event)"
      />
      <mat-hint>10 to 128 characters. All your sessions end, elsewhere too.</mat-hint>
    </mat-form-field>
    <div><button matButton="outlined" type="submit" [disabled]="!good() || busy()">Change password</button></div>
  </form>`,
  styles: `
    form {
      max-width: 400px;
    }
  `,
})
export class ChangePassword {
  private readonly api = inject(Api);
  private readonly toast = inject(Toast);
  protected readonly session = inject(Session);

  protected readonly present = signal('');
  protected readonly next = signal('');
  protected readonly busy = signal(false);
  protected readonly error = signal<ApiError | null>(null);
  protected readonly good = computed(() => this.present() !== '' && this.next().length >= 10);

  protected async submit(): Promise<void> {
    const email = this.session.user()!.email;
    this.busy.set(true);
    this.error.set(null);
    try {
      await this.api.post('/auth/password', { password: this.present(), new_password: this.next() });
      await this.session.login(email, this.next());
      this.present.set('');
      this.next.set('');
      this.toast.show('Your password was changed.');
    } catch (error) {
      this.error.set(ApiError.of(error));
    } finally {
      this.busy.set(false);
    }
  }
}
