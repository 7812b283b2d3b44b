import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.StringJoiner;
import java.util.function.ToIntBiFunction;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.utils.AppInfoParser;
import org.apache.kafka.common.utils.Utils;

/** Asks kafka-clients where it puts each key. The protocol is in README.md. */
public class Vectors {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        String[] counts = in.readLine().split(" ");
        List<byte[]> keys = new ArrayList<>();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            keys.add(line.equals("-") ? new byte[0] : HexFormat.of().parseHex(line));
        }
        for (String count : counts) {
            int partitions = Integer.parseInt(count);
            print("BuiltInPartitioner.partitionForKey", "murmur2", partitions, keys, BuiltInPartitioner::partitionForKey);
            print("Utils.murmur2, reduced unsigned as by KafkaEx Legacy", "murmur2_unmasked", partitions, keys,
                (key, n) -> Integer.remainderUnsigned(Utils.murmur2(key), n));
        }
    }

    private static void print(String setting, String family, int count, List<byte[]> keys, ToIntBiFunction<byte[], Integer> place) {
        StringJoiner placements = new StringJoiner(" ");
        for (byte[] key : keys) {
            placements.add(Integer.toString(place.applyAsInt(key, count)));
        }
        System.out.println(String.join("\t", "kafka-clients", AppInfoParser.getVersion(), setting, family, "" + count, placements.toString()));
    }
}
