package highwater.suite;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** The tests in the order they were added. Prints {@code ok NAME} or {@code FAILED NAME: WHY}, and {@code end COUNT}. */
final class Tests {
    private static final long LIMIT_S = 90;

    interface Body {
        void run() throws Exception;
    }

    private final String wanted;
    private final Map<String, Body> bodies = new LinkedHashMap<>();

    Tests(String wanted) {
        this.wanted = wanted;
    }

    void add(String name, Body body) {
        if (bodies.put(name, body) != null) throw new IllegalArgumentException("two tests named " + name);
    }

    void run() throws InterruptedException {
        int count = 0;
        for (var test : bodies.entrySet()) {
            if (!test.getKey().contains(wanted)) continue;
            count++;
            String why = outcome(test.getValue());
            System.out.println(why == null ? "ok " + test.getKey() : "FAILED " + test.getKey() + ": " + why);
        }
        System.out.println("end " + count);
    }

    /** Null if the test passed. */
    private static String outcome(Body body) throws InterruptedException {
        FutureTask<Void> task = new FutureTask<>(() -> {
            body.run();
            return null;
        });
        Thread thread = new Thread(task, "test");
        thread.setDaemon(true);
        thread.start();
        try {
            task.get(LIMIT_S, TimeUnit.SECONDS);
            return null;
        } catch (TimeoutException tooLong) {
            StackTraceElement[] stack = thread.getStackTrace();
            return "no end after " + LIMIT_S + " s" + place(stack);
        } catch (ExecutionException failed) {
            Throwable cause = failed.getCause();
            String text = cause instanceof AssertionError ? cause.getMessage() : cause.toString();
            return text.replace('\n', ' ') + place(cause.getStackTrace());
        }
    }

    private static String place(StackTraceElement[] stack) {
        for (StackTraceElement frame : stack) {
            if (frame.getClassName().startsWith("highwater.") && !frame.getClassName().equals(Tests.class.getName())) {
                return " (" + frame.getFileName() + ":" + frame.getLineNumber() + ")";
            }
        }
        return "";
    }

    // ---- what tests say

    static void check(boolean holds, String otherwise) {
        if (!holds) throw new AssertionError(otherwise);
    }

    static void equal(Object found, Object expected, String what) {
        if (!Objects.equals(found, expected)) {
            throw new AssertionError(what + ": found " + found + ", expected " + expected);
        }
    }

    /** The call must fail with exactly this class of error, wrapped in an ExecutionException or not. */
    static <E extends Throwable> E refused(Class<E> expected, Body call) {
        try {
            call.run();
        } catch (Throwable thrown) {
            Throwable cause = thrown instanceof ExecutionException ? thrown.getCause() : thrown;
            if (cause.getClass() == expected) return expected.cast(cause);
            throw new AssertionError("refused with " + cause + ", expected " + expected.getSimpleName());
        }
        throw new AssertionError("not refused, expected " + expected.getSimpleName());
    }

    /** Calls until it answers without throwing: what an administrator's request changed may reach a broker's metadata later. */
    static <T> T eventually(java.util.concurrent.Callable<T> call) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (true) {
            try {
                return call.call();
            } catch (Exception | AssertionError notYet) {
                if (System.nanoTime() > deadline) throw notYet;
                Thread.sleep(20);
            }
        }
    }
}
