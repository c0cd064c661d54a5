import { Button } from '@pf/Button'
import { Modal, ModalBody, ModalFooter, ModalHeader } from '@pf/Modal'
import { useState, type ReactNode } from 'react'
import type { Schemas } from '../api/client'
import { useTexts } from '../preferences'
import { GateButton } from './GateButton'
import { SentenceAlert } from './SentenceAlert'

interface Props {
  title: string
  /** The consequence, in words. */
  children: ReactNode
  /** Does it; what it throws is shown, and the popup stays. */
  onConfirm: () => Promise<unknown>
  onClose: () => void
  /** The word on the button; default: Confirm. */
  confirm?: string
  danger?: boolean
  /** Why it cannot be confirmed now. */
  may?: Schemas['Availability']
  variant?: 'small' | 'medium' | 'large'
  /** Not shown when there is nothing to confirm. */
  withoutConfirm?: boolean
}

/** Asks once. It closes only when the hub has said yes. */
export function ConfirmModal({ title, children, onConfirm, onClose, confirm, danger, may, variant = 'small', withoutConfirm }: Props) {
  const t = useTexts()
  const [pending, setPending] = useState(false)
  const [error, setError] = useState<unknown>()
  const act = async () => {
    setPending(true)
    setError(undefined)
    try {
      await onConfirm()
      onClose()
    } catch (e) {
      setError(e)
    } finally {
      setPending(false)
    }
  }
  return (
    <Modal isOpen variant={variant} onClose={onClose} aria-labelledby="confirm-title" aria-describedby="confirm-body">
      <ModalHeader title={title} labelId="confirm-title" />
      <ModalBody id="confirm-body" className="ml-stack">
        {children}
        {error !== undefined && <SentenceAlert of={error} />}
      </ModalBody>
      <ModalFooter>
        {!withoutConfirm && (
          <GateButton may={pending ? { allowed: true } : (may ?? { allowed: true })} variant={danger ? 'danger' : 'primary'} isLoading={pending} onClick={pending ? undefined : () => void act()}>
            {confirm ?? t.common.confirm}
          </GateButton>
        )}
        <Button variant={withoutConfirm ? 'secondary' : 'link'} onClick={onClose}>
          {withoutConfirm ? t.common.close : t.common.cancel}
        </Button>
      </ModalFooter>
    </Modal>
  )
}
